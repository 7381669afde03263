"""The app. Start it with: streamlit run streamlit_app.py

The frame around every page: its title, the navigation, the run picker, and what is said where a run cannot be shown.
"""

import streamlit as st

from app import shared

HEADINGS = {"Home": "Does it know what it does not know?"}

st.set_page_config("Anchorscope", "app/anchor.svg", layout="wide")
page = st.navigation(
    [
        st.Page("app/home.py", title="Home", icon=":material/home:", default=True),
        st.Page("app/thresholds.py", title="Thresholds", icon=":material/tune:", url_path="thresholds"),
        st.Page("app/upload.py", title="Try an image", icon=":material/image_search:", url_path="try"),
    ]
)
with st.sidebar:
    run = shared.pick_run()
st.title(HEADINGS.get(page.title, page.title), anchor=False)
if run is None:
    shared.empty_store()
else:
    with shared.explained():
        if shared.ready(run):
            page.run()

if "opened" not in st.session_state:
    st.session_state.opened = True
    if len(st.query_params):
        st.rerun()
