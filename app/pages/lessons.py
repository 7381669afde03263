"""Lessons: eight cards, each with an idea, a live picture, a question, and the answer once one has given one's own.

For a class with a projector, and for one reader alone. Whatever run is chosen, the cards show the bundled ones.
"""

from functools import partial

import numpy as np
import streamlit as st

from app import address, cards, charts, controls, draw, feeds, frame, handout, heat, jobs, live, systems, teach, wording
from app.cards import CARDS
from app.words import t
from cac_core.results import project, sweep
from cac_core.runs import Run

state, run = st.session_state, Run(cards.DIGITS)
asked = st.query_params.get("card")
state.setdefault("card", int(asked) if asked in map(str, range(1, len(CARDS) + 1)) else 1)
state.setdefault("present", st.query_params.get("present") == "1")
state.setdefault("answers", {})  # by card: the option that was taken
state.setdefault("told", set())  # cards whose answer has been shown
number = state.card
card, told = CARDS[number - 1], number in state.told

STYLE = """
.st-key-options button { min-height: 2.75rem; text-align: start; }
.st-key-options button > div, .st-key-options button > div > span { width: 100%; justify-content: flex-start; }
.st-key-options kbd { margin-inline-start: auto; }
.st-key-steps button { min-width: 2.5rem; }
.st-key-step_HERE button { border: 2px solid currentColor; font-weight: 700; }
@media (pointer: coarse) { .stMain kbd { display: none; } }
.formula { font-family: "Cambria Math", "STIX Two Math", Georgia, serif; font-size: 1.15em; line-height: 1.9; }
"""
ON_A_PROJECTOR = """
.st-key-steps kbd { display: none !important; }
.st-key-options button { min-height: 2.3rem; padding-block: 0.15rem; }
.st-key-steps { gap: 0.35rem; }
.st-key-steps button { min-width: 2rem; padding-inline: 0.4rem; }
:is(.st-key-back, .st-key-next) button p { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); }
.st-key-text { gap: 0.6rem; overflow: hidden; }
.st-key-text p { line-height: 1.45; }
@media (min-width: 700px) {
  [data-testid=stColumn]:has(.st-key-text) { position: sticky; top: 0.5rem; align-self: flex-start; }
}
"""
# A key that a picture has used (it moves a slider there) is not a command too. On a projector, a presenter's clicker
# goes through the cards wherever the focus is: it sends Page Up and Page Down. How high the window is, says how large
# charts can be there; live pictures take what room there is.
_keys = st.components.v2.component(
    "anchorscope_keys",
    js="""
    export default function ({ data, parentElement, setStateValue }) {
      if (data.present && data.high !== window.innerHeight) setStateValue("high", window.innerHeight);
      const main = document.querySelector("[data-testid=stMain]");
      if (parentElement.shown !== data.shown) main?.scrollTo({ top: 0 }); // what is new is read from its beginning
      parentElement.shown = data.shown;
      const fit = () => {  // a long answer in smaller letters rather than below the edge
        const text = document.querySelector(".st-key-text");
        for (let zoom = 1; text && zoom >= 0.6; zoom -= 0.04) {
          text.style.zoom = zoom;
          if (text.getBoundingClientRect().bottom + main.scrollTop <= window.innerHeight - 20) break;
        }
      };
      const seen = new ResizeObserver(fit);
      const text = data.present && document.querySelector("[data-testid=stColumn]:has(.st-key-text)");
      if (text) seen.observe(text);
      const used = (event) => event.defaultPrevented && event.stopPropagation();
      const clicker = (event) => {
        const name = { PageUp: "back", PageDown: "next" }[event.key];
        if (!data.present || !name || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        event.stopPropagation();
        document.querySelector(`.st-key-${name} button`)?.click();
      };
      main?.addEventListener("keydown", used);
      window.addEventListener("keydown", clicker, true);
      return () => {
        seen.disconnect();
        main?.removeEventListener("keydown", used);
        window.removeEventListener("keydown", clicker, true);
      };
    }
    """,
)

high = (state.get("unseen_keys") or {}).get("high")
large = (high or 720) / 720 if state.present else 1.0  # how many times as large as usual a picture is


# --- going from card to card -----------------------------------------------------------------------------------------


def go(to: int):
    state.card = min(max(to, 1), len(CARDS))


def take(option: int):
    state.answers[state.card] = option


def tell():
    state.told.add(state.card)


def present():
    state.present = not state.present


def start_over():
    state.answers, state.told, state.card = {}, set(), 1


def steps():
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="steps"):
        st.button(t("Back"), key="back", icon=":material/arrow_back:", shortcut="Left", on_click=go, args=(number - 1,),
                  disabled=number == 1)  # fmt: skip
        for n, one in enumerate(CARDS, 1):
            st.button(
                str(n), key=f"step_{n}", on_click=go, args=(n,), help=t(one.title),
                icon=":material/check:" if n in state.told else None,
            )  # fmt: skip
        st.button(t("Next"), key="next", icon=":material/arrow_forward:", icon_position="right", shortcut="Right",
                  on_click=go, args=(number + 1,), disabled=number == len(CARDS))  # fmt: skip
        if state.present:
            title()
        st.space("stretch")
        st.button(
            t("Close") if state.present else t("Present"), key="presenter", shortcut="P",
            icon=":material/close_fullscreen:" if state.present else ":material/present_to_all:", on_click=present,
            type="tertiary", help=t("Large, without the rest of the app. Page Up and Page Down turn the cards."),
        )  # fmt: skip


# --- a card ----------------------------------------------------------------------------------------------------------


def idea():
    st.markdown(cards.marked(t(card.idea)), unsafe_allow_html=True)


def formula():
    st.html(f'<div class="formula">{cards.marked(card.formula)}</div>')


def question():
    """The question, and three answers to choose from."""
    taken = state.answers.get(number)
    st.markdown(f"**{cards.marked(t(card.question, **cards.measured()))}**", unsafe_allow_html=True)
    with st.container(key="options", gap="xsmall"):
        for n, option in enumerate(card.options):
            mark = "check_circle" if told and n == card.right else "radio_button_checked" if n == taken else None
            st.button(
                f"**{t(option)}**" if n == taken else t(option), key=f"option_{number}_{n}", shortcut=str(n + 1),
                icon=f":material/{mark or 'radio_button_unchecked'}:", width="stretch", wrap=True,
                on_click=take, args=(n,),
            )  # fmt: skip
    if not told:
        st.button(t("Show the answer"), key="tell", icon=":material/lightbulb:", shortcut="A", on_click=tell,
                  disabled=taken is None, help=t("Choose an answer first.") if taken is None else None)  # fmt: skip


def answer():
    """What is right, and where to try it."""
    with st.container(border=True):
        right = cards.marked(t(card.options[card.right]))
        said = t("Right: {option}.", option=right) if state.answers[number] == card.right else t(
            "Not quite. Right is: {option}.", option=right
        )  # fmt: skip
        st.markdown(f"**{said}**", unsafe_allow_html=True)
        st.markdown(cards.marked(t(card.answer, **cards.measured())), unsafe_allow_html=True)
    st.link_button(f"{t('Try it yourself')}: {t(card.task)}", cards.address(card), icon=":material/open_in_new:",
                   type="tertiary", wrap=True)  # fmt: skip


def on_a_projector():
    """Text beside the picture, and of the text what is spoken of: the question, then the answer."""
    text, picture = st.columns([4, 5], gap="medium")
    with text.container(key="text"):
        if told:
            answer()
            formula()
        else:
            idea()
            question()
    with picture:
        PICTURES[number - 1]()


def on_a_page():
    title()
    left, right = st.columns(2, gap="large")
    with left:
        idea()
        formula()
    with right:
        question()
    if told:
        answer()
    PICTURES[number - 1]()


def title():
    st.subheader(f"{number} · {t(card.title)}", anchor=False)


# --- the live pictures -----------------------------------------------------------------------------------------------

FIXED = ("data", "classes", "method", "unknown", "stranger", "alpha", "lambda", "rate", "noise", "width", "seed",
         "kept", "draw", "share")  # fmt: skip


def toy(preset: dict, show: tuple[str, ...], key: str, hide: tuple[str, ...] = (), height: int = 360):
    """The anchor lab with few controls."""
    teach.lab(preset, show, key=key, height=height, hide=(*FIXED, *hide), bare=state.present)


def always_an_answer():
    """Trained; the strangers come once the reader has said what will become of them."""
    toy({"data": "blobs", "method": "softmax", "unknown": "ring" if told else "none", "epoch": 60},
        ("input", "scores"), "lesson_confidence")  # fmt: skip


def anchors_pull():
    toy({"data": "blobs", "unknown": "blob", "at": [0, 0], "play": told}, ("input", "logits"), "lesson_anchors")


def two_pulls():
    for place, weight in zip(st.columns(2, gap="large"), (0, 1), strict=True):
        with place:
            st.markdown(f"**λ = {weight}**")
            toy({"data": "moons", "lambda": weight, "play": told}, ("logits", "curves"), f"lesson_lambda_{weight}",
                hide=("epoch",), height=300)  # fmt: skip


def line_to_draw():
    live.feed(blob := feeds.run_feed(run), key="lesson_feed")
    word = live.lab(of_the_digits(blob, bare=state.present), key="lesson_theta", height=300)
    if not state.present:  # a pad beside it has no room on a projector
        drawing(word.get("theta"), word.get("temperature", 1.0))


@st.fragment
def drawing(theta: float | None, temperature: float):
    """A verdict that follows the pen; nothing else runs again for it."""
    if jobs.read_only():
        return
    st.markdown(t("**Draw something**: a digit that the network knows, one that it does not, or your initials."))
    paper, verdict = st.columns([1, 2], gap="large", vertical_alignment="center")
    with paper:
        drawn = draw.canvas(key="lesson_drawing")
    with verdict:
        if drawn:
            draw.verdict(run, drawn, "gamma", theta, temperature=temperature)
        else:
            st.caption(t("It knows {names}.", names=wording.listed(run.known_names)))


def of_the_digits(blob: bytes, **own) -> dict:
    """What a live picture of the bundled run is told: nothing that was set on other pages."""
    return controls.looks(blob) | {"scorer": "gamma", "name": t(wording.SAID["gamma"])} | own


def pairs():
    """AUROC by T and epsilon; which pair is whose choice is marked once the reader has answered."""
    name = st.segmented_control(t("Network"), list(cards.SWEPT), default="CIFAR10", required=True, key="lesson_pairs")
    report = sweep.report(Run(cards.SWEPT[name]))
    rows, columns = report["temperatures"], report["magnitudes"]
    values = np.array([cell["scores"]["gamma"]["auroc"] for cell in report["cells"]]).reshape(len(rows), len(columns))
    places = {
        choice: (
            rows.index(report[choice]["gamma"]["temperature"]),
            columns.index(report[choice]["gamma"]["magnitude"]),
        )
        for choice in ("chosen", "oracle")
    }
    plain = rows.index(1.0), columns.index(0.0)
    heat.show(values, rows, columns, places if told else {}, places["chosen"] if told else plain, controls.palette(),
              "lesson_heat", "AUROC")  # fmt: skip
    if not told:
        st.caption(t("AUROC in % of each pair; the framed one leaves the images as they are."))
        return
    for place, (choice, whose) in zip(
        st.columns(2), {"chosen": t("▲ chosen without unknowns"), "oracle": t("★ oracle")}.items(), strict=True
    ):
        cell = report[choice]["gamma"]
        gain, low, high = (charts.points(100 * x, 2) for x in (cell["gain"], *cell["gain_interval"]))
        with place.container(border=True):
            st.markdown(f"**{whose}**: T = {cell['temperature']:g}, ε = {cell['magnitude']:g}")
            st.markdown(f"AUROC **{charts.percent(cell['auroc'], 2)}**")
            st.caption(t("{gain} points ({low} … {high}) against the plain images", gain=gain, low=low, high=high))


def wheel_and_map():
    """The same images twice; which, those that are picked, theta and T are the same in both. A projector has room for
    one."""
    views = ("umap",) if state.present else ("wheel", "umap")
    live.feed(blob := feeds.run_feed(run, umap=project.maps(run)[0]), key="lesson_feed")
    both = state.setdefault("lesson_both", {"selection": [], "theta": None, "temperature": 1.0, "sets": [0, 1]})
    places = [st.container()] if state.present else st.columns(2, gap="large")
    for place, view in zip(places, views, strict=True):
        told_so = of_the_digits(blob, view=state.get(f"lesson_view_{view}", view), bare=state.present, **both)
        with place:
            live.space(told_so, key=f"lesson_{view}", height=360, on_change=partial(moved, view))


def moved(view: str):
    word = live.settled(f"lesson_{view}")
    state.lesson_both = {name: word[name] for name in state.lesson_both}
    state[f"lesson_view_{view}"] = word["view"]


def made_up():
    """The clusters; what is made up comes once the reader has said where it will lie."""
    outliers = Run(cards.OUTLIERS)
    shown = ("unknown", "virtual", "mixed") if told else ()
    if state.present:
        systems.clusters(outliers, st.container(), shown, round(400 * large))
        return
    left, right = st.columns(2, gap="large")
    systems.clusters(outliers, left, shown)
    systems.far(outliers, right, ("known", *shown))
    if told:
        st.caption(
            t(
                "Two dimensions of {width}, so that much lies farther than it looks; the distances are in all of them. "
                "Mixtures are of features here, PROSER mixes a stage earlier.",
                width=outliers.outputs("train").features.shape[1],
            )
        )


def on_the_sphere():
    """How the prototypes moved; where they ended up is shown once the reader has said it."""
    sphere = Run(cards.SPHERE)
    left, right = st.columns(2, gap="large") if told and not state.present else (st.container(), st.container())
    if not told or not state.present:
        systems.course(sphere, left, ("own",) if not told else tuple(systems.COSINES))
    if told:
        with right:
            systems.above(sphere, controls.palette())


PICTURES = (always_an_answer, anchors_pull, two_pulls, line_to_draw, pairs, wheel_and_map, made_up, on_the_sphere)


def foot():
    base = (st.context.url or "").rsplit("/", 1)[0]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            t("All eight cards on paper"), handout.page(f"{base}/" if base else ""), "lessons.html", "text/html",
            icon=":material/print:", on_click="ignore", type="tertiary",
        )  # fmt: skip
        st.button(t("Start over"), key="over", icon=":material/restart_alt:", type="tertiary", on_click=start_over,
                  disabled=not state.answers)  # fmt: skip


style = frame.ON_A_PROJECTOR + ON_A_PROJECTOR if state.present else ""
st.html(f"<style>{STYLE.replace('HERE', str(number))}{style}</style>")
_keys(
    key="unseen_keys", on_high_change=lambda: None,
    data={"present": state.present, "high": high, "shown": f"{number} {told and state.present}"},
)  # fmt: skip
steps()
if state.present:
    on_a_projector()
else:
    on_a_page()
    foot()
address.show({"card": str(number), "present": "1" if state.present else None})
