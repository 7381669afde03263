"""The eight cards: what they say is measured, an answer comes after one's own, and all of it prints."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import cards, handout, links
from app.cards import CARDS
from cac_core.runs import Run
from cac_core.scoring.distances import gamma
from tests.waiting import LONG

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def lessons(store, tmp_path, monkeypatch):
    """lessons(bundled=True, **query) opens the page; the store holds the bundled run for digits, or nothing."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))

    def open_page(bundled: bool = True, **query: str) -> AppTest:
        if bundled:
            shutil.copytree(cards.DIGITS, store / cards.DIGITS.name)
        at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG)
        at.run()
        at.switch_page("app/pages/lessons.py")
        for name, value in query.items():
            at.query_params[name] = value
        return fine(at.run())

    return open_page


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    assert not at.error, [e.value for e in at.error]
    return at


def text(at: AppTest) -> str:
    return "\n".join(str(part.value) for part in (*at.subheader, *at.markdown, *at.caption))


def card_of(at: AppTest) -> int:
    (title,) = [s.value for s in at.subheader if " · " in s.value]
    number = int(title.split()[0])
    assert title.endswith(CARDS[number - 1].title)
    return number


def press(at: AppTest, key: str) -> AppTest:
    return fine(at.button(key=key).click().run())


def told(at: AppTest) -> bool:
    return any(b.label == "Show the answer" for b in at.button) is False


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, len(CARDS) + 1))
@pytest.mark.parametrize("option", range(3))
def test_an_answer_is_shown_only_after_ones_own(lessons, number, option):
    card, at = CARDS[number - 1], lessons(card=str(number))
    answer = cards.marked(card.answer.format(**cards.measured()))
    assert card_of(at) == number and answer not in text(at) and not told(at)
    assert at.button(key="tell").disabled
    at = press(at, f"option_{number}_{option}")
    assert answer not in text(at) and not at.button(key="tell").disabled
    at = press(at, "tell")
    assert told(at) and answer in text(at)
    assert (
        f"**{'Right:' if option == card.right else 'Not quite. Right is:'} {cards.marked(card.options[card.right])}.**"
        in text(at)
    )


def test_answers_are_kept_while_one_goes_back_and_forth(lessons):
    at = press(press(lessons(), "option_1_0"), "tell")
    at = press(press(at, "next"), "option_2_1")
    assert card_of(at) == 2 and not told(at)
    at = press(at, "back")
    assert card_of(at) == 1 and told(at) and "Not quite." in text(at)
    at = press(at, "step_2")
    assert "radio_button_checked" in at.button(key="option_2_1").icon and not at.button(key="tell").disabled
    at = press(at, "over")
    assert card_of(at) == 1 and not told(at) and at.button(key="tell").disabled


def test_the_ends_are_ends(lessons):
    at = lessons()
    assert at.button(key="back").disabled and not at.button(key="next").disabled
    at = press(at, f"step_{len(CARDS)}")
    assert at.button(key="next").disabled and not at.button(key="back").disabled


@pytest.mark.parametrize("asked, number", [("3", 3), ("0", 1), ("99", 1), ("x", 1), ("", 1), ("²", 1), ("-1", 1)])
def test_a_card_in_the_address(lessons, asked, number):
    assert card_of(lessons(card=asked)) == number


@pytest.mark.parametrize("asked, large", [("1", True), ("0", False), ("true", False)])
def test_the_presenters_view(lessons, asked, large):
    at = lessons(present=asked)
    assert at.session_state.present is large
    assert any("stSidebar" in html.proto.body for html in at.get("html")) is large
    at = press(at, "presenter")
    assert at.session_state.present is not large


@pytest.mark.parametrize("number", range(1, len(CARDS) + 1))
def test_every_card_fits_a_projector(lessons, number):
    at = lessons(card=str(number), present="1")
    assert card_of(at) == number and CARDS[number - 1].idea[:20] in text(at)
    at = press(press(at, f"option_{number}_0"), "tell")
    assert cards.marked(CARDS[number - 1].answer[:20]) in text(at) and CARDS[number - 1].idea[:20] not in text(at)


@pytest.mark.parametrize("number", [1, 4, 6, 7, 8])
def test_it_needs_no_run_in_the_store(lessons, number):
    assert card_of(lessons(bundled=False, card=str(number))) == number


def test_the_page_loads_neither_torch_nor_umap(store, tmp_path):
    script = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file({str(HERE / 'streamlit_app.py')!r}, default_timeout={LONG}).run()\n"
        "at.switch_page('app/pages/lessons.py')\n"
        f"for n in range({len(CARDS)}):\n"
        "    at.session_state['card'] = n + 1\n"
        "    at.run(); assert not at.exception and not at.error\n"
        "print(sorted({'torch', 'umap', 'torchvision'} & set(sys.modules)))"
    )
    env = {**os.environ, "ANCHORSCOPE_RUNS": str(store), "ANCHORSCOPE_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=HERE, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]")


# --- what the cards say ----------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_bundled_runs():
    said, run = cards.measured(), Run(cards.DIGITS)
    report = run.report()["scorers"]["gamma"]
    assert said["theta"] == f"{report['theta']:.5f}"
    assert said["kept"] == f"{100 * report['at_theta']['knowns_kept']:.1f}\u00a0%"
    assert said["caught"] == f"{100 * report['at_theta']['unknowns_caught']:.1f}\u00a0%"
    test = run.outputs("test")
    score = gamma(run.outputs("train"))(test).score
    known, unknown = score[test.labels >= 0], sorted(score[test.labels < 0])
    let_through = int(0.01 * len(unknown))  # 99 % of the unknowns score as high as this one or higher
    assert said["away"] == f"{100 * np.mean(known >= unknown[let_through]):.1f}\u00a0%"
    closed = Run(cards.CLOSED).outputs("test")
    sure = 0
    for logits, label in zip(closed.logits.astype(float), closed.labels, strict=True):
        if label < 0:
            odds = [np.exp(z - max(logits)) for z in logits]
            sure += max(odds) / sum(odds) > 0.9
    assert said["sure"] == f"{100 * sure / (closed.labels < 0).sum():.1f}\u00a0%"
    first, last = run.epochs()[0]["train"], run.epochs()[-1]["train"]
    assert float(said["tuplet_first"]) == pytest.approx(first["tuplet"], rel=0.01)
    assert float(said["anchor_last"]) == pytest.approx(last["anchor"], rel=0.01)
    assert float(said["gap"]) == pytest.approx(10 * 2**0.5, rel=0.01)
    assert float(said["least"]) < float(said["most"]) < 1.2 * float(said["least"])  # the anchors' equal distances
    assert float(said["map_most"]) / float(said["map_least"]) == pytest.approx(float(said["times"]), abs=0.1)


def test_every_name_in_the_texts_has_a_number():
    said = cards.measured()
    for card in CARDS:
        for phrase in (card.question, card.answer):
            assert "{" not in phrase.format(**said)
        assert card.right in range(3) and len(card.options) == 3


def test_the_anchors_are_as_far_from_the_map_as_the_card_says():
    run = Run(cards.DIGITS)
    places = cards.map_places(run)
    both = np.concatenate([run.outputs(split).labels for split in ("validation", "test")])
    middles = [places[both == c].mean(0) for c in range(len(run.known_names))]
    gaps = {
        (a, b): np.linalg.norm(middles[i] - middles[j])
        for i, a in enumerate(run.known_names)
        for j, b in enumerate(run.known_names)
        if i < j
    }
    said = cards.measured()
    assert min(gaps, key=gaps.get) == (said["near_one"], said["near_other"])
    assert max(gaps, key=gaps.get) == (said["far_one"], said["far_other"])


def test_what_is_made_up_lies_where_the_card_says():
    run, said = Run(cards.OUTLIERS), cards.measured()
    train, test = run.outputs("train"), run.outputs("test")
    means = [train.features[train.labels == c].mean(0, dtype=float) for c in range(6)]
    centred = train.features - np.array(means)[train.labels]
    inverse = np.linalg.inv(centred.T.astype(float) @ centred / len(centred) + 1e-4 * np.eye(centred.shape[1]))
    between, far = [], []
    for x in test.features[test.labels < 0].astype(float):
        near = sorted(((x - m) @ inverse @ (x - m)) ** 0.5 for m in means)
        between.append(near[0] > 0.8 * near[1])
        far.append(near[0])
    assert said["unknown_between"] == f"{100 * np.mean(between):.0f}\u00a0%"
    assert float(said["unknown_far"]) == pytest.approx(np.median(far), abs=0.06)
    assert float(said["known_far"]) < float(said["virtual_far"]) < float(said["unknown_far"])
    shares = [int(said[f"{name}_between"].split()[0]) for name in ("virtual", "mixed", "unknown")]
    assert shares[0] < 50 and shares[0] < shares[1] < 50 < shares[2]  # as the right answer has it


def test_the_prototypes_of_the_bundled_sphere_are_a_simplex():
    run, said = Run(cards.SPHERE), cards.measured()
    prototypes = run.outputs("train").prototypes.astype(float)
    np.testing.assert_allclose(np.linalg.norm(prototypes, axis=1), 1, rtol=1e-5)
    gaps = [np.degrees(np.arccos(prototypes[a] @ prototypes[b])) for a in range(3) for b in range(a)]
    assert (said["sphere_least"], said["sphere_most"]) == (f"{min(gaps):.0f}", f"{max(gaps):.0f}")
    assert abs(np.mean(gaps) - 120) < 3 and float(said["own_first"]) < float(said["own_last"])


@pytest.mark.parametrize(
    "text, shown",
    [
        ("L_T < 1", "L<sub>T</sub> &lt; 1"),
        ("Σ_{j≠y} d_j", "Σ<sub>j≠y</sub> d<sub>j</sub>"),
        ("<b>&", "&lt;b&gt;&amp;"),
    ],
)
def test_what_stands_low_and_what_is_escaped(text, shown):
    assert cards.marked(text) == shown


def test_a_link_says_what_a_page_understands():
    for card in CARDS:
        link = urlsplit(cards.address(card))
        state = {name: values[0] for name, values in parse_qs(link.query).items()}
        if link.path == "anchors":
            assert "run" not in state
            continue
        assert state.pop("run") == card.run.name
        for name, value in state.items():
            links.LINKS[name][0](value)  # raises where it makes no sense


def test_in_a_show_which_copies_nothing_a_link_opens_a_run_that_is_there(store, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    assert cards.address(CARDS[3]) == "thresholds?kept=99"
    shutil.copytree(cards.DIGITS, store / cards.DIGITS.name)
    assert "run=" in cards.address(CARDS[3])


@pytest.mark.parametrize("had", [False, True], ids=["empty store", "another run"])
def test_the_run_of_a_card_that_a_store_lacks_is_offered_there_and_opens_as_the_link_has_it(store, monkeypatch, had):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    if had:
        shutil.copytree(cards.DIGITS, store / "digits-another")
    card = CARDS[3]
    link = urlsplit(cards.address(card))
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG).run()
    for name, values in parse_qs(link.query).items():
        at.query_params[name] = values[0]
    at = at.switch_page(f"app/pages/{link.path}.py").run()
    assert any(card.run.name in part.value.replace("\\", "") for part in at.markdown)
    (button,) = [one for one in at.button if one.label == "Copy it to my runs"]
    at = button.click().run()
    assert not at.exception and at.session_state.run == card.run.name and at.session_state.kept == 99
    assert not [one for one in at.button if one.label == "Copy it to my runs"] and not at.warning
    assert Run(store / card.run.name).recipe == Run(card.run).recipe


# --- the handout -----------------------------------------------------------------------------------------------------


def parsed(document: str) -> ET.Element:
    head, body = document.split("\n", 1)
    assert head == "<!DOCTYPE html>"
    return ET.fromstring(body)


def test_the_handout_is_one_file_with_everything():
    document = handout.page("http://here/")
    root = parsed(document)
    assert root.get("lang") == "en" and not root.findall(".//script")
    assert not re.search(r"""(src|href)=["'](?!http://here/)|@import|url\(""", document)
    sections = root.findall(".//body/section")
    assert [s.get("id") for s in sections] == [f"card-{n}" for n in range(1, len(CARDS) + 1)]
    for card, section in zip(CARDS, sections, strict=True):
        written = "".join(section.itertext())
        assert card.title in written and card.task in written
        assert len(section.findall(".//li/span[@class='box']")) == 3
        assert section.find(".//a").get("href") == "http://here/" + cards.address(card)
        assert re.sub(r"_", "", card.answer[:30]) not in written  # answers have a page of their own
    answers = root.find(".//div[@class='answers']")
    assert len(answers.findall("section")) == len(CARDS)
    assert [len(s.findall(f".//{SVG}svg")) for s in sections] == [1, 1, 1, 1, 1, 2, 1, 1]


def test_a_formula_holds_no_words_of_one_language():
    names = {"exp", "log", "sign", "softmax", "cos", "sin", "min", "argmax", "out", "mix"}
    for card in CARDS:
        assert set(re.findall("[a-z]{3,}", card.formula)) <= names


def test_the_pictures_hold_the_numbers_of_the_run():
    run = Run(cards.DIGITS)
    drawn = [ET.fromstring(svg) for one in handout.pictures() for svg, _ in one]
    wheel = [node.text for node in drawn[1].iter(f"{SVG}text")]
    test = run.outputs("test")
    assert wheel.count("×") == (test.labels < 0).sum() and wheel.count("★") == len(run.known_names)
    for c, name in enumerate(run.known_names):
        assert wheel.count(name) == (test.labels == c).sum() + 1  # and the name of the class
    assert [node.text for node in drawn[3].iter(f"{SVG}text")].count("θ") == 1
    for picture in drawn:
        for node in picture.iter():
            for value in (node.get(side) for side in ("x", "y", "x1", "y1", "cx", "width", "height")):
                assert value is None or np.isfinite(float(value))


def test_bars_are_as_high_as_the_shares():
    known, unknown = np.array([0.1, 0.1, 0.1, 0.9]), np.array([0.9])
    drawn = ET.fromstring(handout.histogram(known, unknown, (0, 1), {0: "0"}, "score", 0.5))
    bars = [(r.get("fill"), float(r.get("height"))) for r in drawn.iter(f"{SVG}rect")]
    assert sorted(bars) == [("#bbb", pytest.approx(20.5)), ("#bbb", pytest.approx(61.5)), ("#fff", pytest.approx(82))]


def test_whatever_is_put_in_is_escaped(monkeypatch):
    nasty = "<script>alert('x')</script> & \"quoted\""
    evil = dataclasses.replace(
        CARDS[0], title=nasty, idea=nasty, question=nasty, options=(nasty,) * 3, answer=nasty, task=nasty,
        state={"data": nasty},
    )  # fmt: skip
    monkeypatch.setattr(cards, "CARDS", (evil,) * len(CARDS))
    handout._page.clear()
    root = parsed(handout.page('http://here/"><script>'))
    handout._page.clear()
    assert not root.findall(".//script")
    assert nasty in "".join(root.itertext())
    svg = handout.scatter(np.zeros((2, 2)), np.array([0, -1]), [nasty], None, nasty)
    assert nasty in "".join(ET.fromstring(svg).itertext()) and "<script" not in svg
