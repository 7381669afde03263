"""What stands around every page: the language, and what is spared at the end of a script."""

import gc

import streamlit as st

from app import address, words
from app.words import t

# what reads a page aloud takes the right voice
_spoken = st.components.v2.component(
    "anchorscope_language",
    js="""
    export default function ({ data, parentElement }) {
      document.documentElement.lang = data;
    }
    """,
)


# Large, without the rest of the app: a page puts it into a style where it is shown on a projector.
ON_A_PROJECTOR = """
html { font-size: clamp(16px, min(1.7vw, 3.02vh), 48px) !important; }
[data-testid=stSidebar], [data-testid=stHeader], [data-testid=stElementContainer]:has(h1) { display: none !important; }
.stMain [data-testid=stMainBlockContainer] { padding: 0.5rem 1.5rem; }
"""


# selections whose choices are said in the reader's language. The browser knows a choice by what it reads, and holds on
# to what it read before: told the choice again, it takes the new words, else the choice is lost one language later
TRANSLATED = ("epsilon", "map", "moved_image", "compare_scorer", "compare_pair", "runs_order", "runs_state",
              "trial_start", "new_dataset", "new_device")  # fmt: skip


def _said_anew() -> None:
    for name in TRANSLATED:
        if name in st.session_state:
            st.session_state[name] = st.session_state[name]


def choose_language() -> None:
    """The picker; a language other than the browser's stands in the address, so that a copy opens in it.

    Not bound to the address by Streamlit: that leaves out what is the default here, which elsewhere is another, and
    writes what the picker shows.
    """
    there = words.languages()
    st.selectbox(
        t("Language"), there, there.index(words.language()), key="lang",
        format_func=lambda name: words.NAMES.get(name, name), on_change=_said_anew, label_visibility="collapsed",
    )  # fmt: skip
    spoken = words.language()
    _spoken(key="unseen_spoken", data=spoken)
    address.show({"lang": None if spoken == words.first_of(st.context.locale) else spoken}, key="language")


@st.cache_resource(max_entries=64, show_spinner=False)
def spare_garbage_collection(modules: int) -> None:
    """Leaves all that has been imported out of the full collection that Streamlit does each time a script has ended.

    That takes 30 to 50 ms of processor time for what is no garbage. Done again when further modules have come.
    """
    gc.freeze()
