"""The app. Start it with: streamlit run streamlit_app.py

The frame around every page: its title, the navigation, the run picker, and what is said where a run cannot be shown.
Streamlit reads this file twice over: its server once, for `app`, and each visit to a page as its script, `__main__`.
"""

import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from app import served

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Place:
    """A page: its name, icon and heading, and whether it is about the chosen run. Its file is named as its address."""

    name: str
    icon: str
    heading: str
    of_run: bool = True


def file_of(url: str) -> str:
    return f"app/pages/{url or 'home'}.py"


def show():
    # not where the server reads this file: there is no app yet that these could keep their caches for
    from app import address, frame, links, picker, wording
    from app.words import t

    st.set_page_config("Anchorscope", str(HERE / "app" / "anchor.svg"), layout="wide")
    sections = {
        "": {"": Place(t("Home"), "home", t("Does it know what it does not know?"))},
        t("Learn"): {
            "lessons": Place(t("Lessons"), "school", t("Lessons"), of_run=False),
            "anchors": Place(t("Anchor lab"), "science", t("Anchor lab"), of_run=False),
        },
        t("Explore"): {
            "space": Place(t("Logit space"), "hub", t("Logit space")),
            "thresholds": Place(t("Thresholds"), "tune", t("Thresholds")),
            "images": Place(t("Images"), "photo_library", t("Images")),
            "sweep": Place(t("Sweep"), "grid_on", t("Does moving the image help?")),
            "try": Place(t("Try an image"), "image_search", t("Try an image")),
        },
        t("Train"): {
            "data": Place(t("Data and trials"), "dataset", t("Data and trials"), of_run=False),
            "new": Place(t("New run"), "add_circle", t("New run"), of_run=False),
            "live": Place(t("Live"), "monitoring", t("Live"), of_run=False),
        },
        t("Results"): {
            "runs": Place(t("Runs"), "table_rows", t("Runs"), of_run=False),
            "compare": Place(t("Compare"), "compare_arrows", t("Compare"), of_run=False),
            "reproduce": Place(t("Reproduce"), "fact_check", t("Reproduce"), of_run=False),
        },
        t("Use"): {
            "many": Place(t("Many pictures"), "perm_media", t("Many pictures at once")),
            "export": Place(t("Export"), "ios_share", t("Export to ONNX")),
            "watch": Place(t("Watch"), "visibility", t("What is rejected in use")),
        },
    }
    every = {url: place for section in sections.values() for url, place in section.items()}
    pages = {
        section: [
            st.Page(file_of(url), title=p.name, icon=f":material/{p.icon}:", url_path=url, default=not url)
            for url, p in places.items()
        ]
        for section, places in sections.items()
    }
    pages[""].append(st.Page(lambda: None, title=t("Home"), url_path="home", visibility="hidden"))
    page = st.navigation(pages, expanded=True)
    if page.url_path == "home":  # the name that one would guess; what the address says goes along
        address.go("home", st.query_params.to_dict())
    place = every[page.url_path]
    links.arrive(page.url_path)
    with st.sidebar:
        run = picker.pick_run(page.url_path or "home")
        frame.choose_language()
    st.title(place.heading, anchor=False)
    above = st.container()
    if place.of_run and run is None:
        picker.empty_store()
    else:
        with wording.explained():
            if not place.of_run or picker.ready(run):
                # not page.run(): as part of the frame its widgets keep their values, and their place in the address,
                # from page to page; Streamlit 1.67 forgets on the way what came by a link
                runpy.run_path(str(HERE / file_of(page.url_path)))
    with above:
        links.refused()
    frame.spare_garbage_collection(len(sys.modules))


if __name__ == "__main__":
    show()
else:
    app = st.App(__file__, middleware=[Middleware(served.Dressed)])
