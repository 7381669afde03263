"""The app. Start it with: streamlit run streamlit_app.py

The frame around every page: its title, the navigation, the run picker, and what is said where a run cannot be shown.
"""

import runpy
from pathlib import Path

import streamlit as st

from app import shared

HERE = Path(__file__).parent
st.set_page_config("Anchorscope", str(HERE / "app" / "anchor.svg"), layout="wide")
PAGES = {  # by address: file, name, icon, heading
    "": ("app/home.py", "Home", "home", "Does it know what it does not know?"),
    "space": ("app/logits.py", "Logit space", "hub", "Logit space"),
    "thresholds": ("app/thresholds.py", "Thresholds", "tune", "Thresholds"),
    "sweep": ("app/sweep.py", "Sweep", "grid_on", "Does moving the image help?"),
    "try": ("app/upload.py", "Try an image", "image_search", "Try an image"),
}
page = st.navigation(
    [
        st.Page(file, title=name, icon=f":material/{icon}:", url_path=url, default=not url)
        for url, (file, name, icon, _) in PAGES.items()
    ]
)
file, _, _, heading = PAGES[page.url_path]
shared.read_link()
with st.sidebar:
    run = shared.pick_run()
st.title(heading, anchor=False)
if run is None:
    shared.empty_store()
else:
    with shared.explained():
        if shared.ready(run):
            # not page.run(): as part of the frame its widgets keep their values, and their place in the address, from
            # page to page; Streamlit 1.67 forgets on the way what came by a link
            runpy.run_path(str(HERE / file))
