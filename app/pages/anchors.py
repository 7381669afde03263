"""The anchor lab: a small network learns in the page, while one watches its logits gather around the anchors."""

import streamlit as st

from app import teach
from app.words import t

said, more = st.columns([6, 1], vertical_alignment="center")
with said:
    st.markdown(
        t(
            "A real network of three classes learns here, in your browser. Press **Play**: the loss pulls each class "
            "to its anchor. Then add an unknown, and see where it falls."
        )
    )
with more, st.popover(t("Help"), icon=":material/help:"):
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
teach.lab({"unknown": "blob"}, teach.PARTS, key="bench", height=440, link=True)
