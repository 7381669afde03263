"""The anchor lab: a small network learns in the page, while one watches its logits gather around the anchors."""

import streamlit as st

from app import address, frame, teach
from app.words import t

state = st.session_state
state.setdefault("present", st.query_params.get("present") == "1")


def present():
    state.present = not state.present


def how_to_read():
    st.markdown(
        t(
            "- **Left**: what the network sees. A place is coloured by the class that the network takes it for, "
            "and hatched where it would say *unknown*.\n"
            "- **Middle**: the network's three logits, one on each axis. The stars are the anchors, "
            "α times the unit vectors; large circles are the class means. The rings show where the score is θ.\n"
            "- **Right**: the formulas with the numbers of the point that you click.\n"
            "- θ is the lowest that keeps 95 % of new points of the three classes on average, as the held-out ones "
            "show: a quarter of them is not trained on. Unknowns are never trained on.\n"
            "- What you set is in the address: copy it, and others see the same, number for number. "
            "`?hide=alpha,lambda` leaves controls out."
        )
    )


with st.container(horizontal=True, vertical_alignment="center"):
    if state.present:
        st.html(f"<style>{frame.ON_A_PROJECTOR}</style>")
        st.subheader(t("Anchor lab"), anchor=False)
        st.space("stretch")
    else:
        st.markdown(
            t(
                "A real network of three classes learns here, in your browser. Press **Play**: the loss pulls each "
                "class to its anchor. Then add an unknown, and see where it falls."
            )
        )
        with st.popover(t("Help"), icon=":material/help:"):
            how_to_read()
    st.button(
        t("Close") if state.present else t("Present"), key="presenter", shortcut="P", on_click=present, type="tertiary",
        icon=":material/close_fullscreen:" if state.present else ":material/present_to_all:",
        help=t("Large, without the rest of the app."),
    )  # fmt: skip
shown = ("input", "logits") if state.present else teach.PARTS
hidden = ("noise", "width", "seed", "kept") if state.present else ()
teach.lab({"unknown": "blob"}, shown, key="bench", height=440, hide=hidden, link=True, bare=state.present)
address.show({"present": "1" if state.present else None})
