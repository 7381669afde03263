"""The eight cards on paper: one HTML file to print, with pictures drawn from the numbers of the bundled runs.

Black on white, without scripts; whatever is put into it is escaped. The pictures are SVG: arrays in, text out. A known
image is drawn as the name of its class, an image of a class never seen as ×. N images, C known classes.
"""

import re
from html import escape

import numpy as np
import streamlit as st

from app import cards, charts, systems
from app.words import language, t
from cac_core.results import judge, sweep
from cac_core.results.systems import from_above
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.arrays import softmax
from cac_core.scoring.distances import class_means, gamma

WIDE, HIGH = 320, 230  # of a picture
BINS = 24
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
STYLE = """
@page { margin: 12mm 14mm; }
body { font: 9.5pt/1.36 system-ui, "Noto Sans", sans-serif; color: #000; background: #fff; max-width: 182mm;
  margin: 0 auto; }
h1 { font-size: 16pt; margin: 0; }
h2 { font-size: 12pt; margin: 0 0 1mm; break-after: avoid; }
p { margin: 0 0 1.5mm; }
.head { display: flex; justify-content: space-between; align-items: end; margin-bottom: 2mm; }
section { break-inside: avoid; border-top: 0.4mm solid #000; padding: 2mm 0 4mm; }
.head div + div { white-space: nowrap; }
.pictures { float: right; width: 70mm; margin: 0 0 1mm 6mm; }
.pictures svg { width: 100%; height: auto; max-height: 58mm; display: block; }
.pictures small { display: block; line-height: 1.25; }
.pictures.two { width: 92mm; display: grid; grid-template-columns: 1fr 1fr; gap: 4mm; }
.formula { font-family: "Cambria Math", "STIX Two Math", Georgia, serif; font-size: 10.5pt; }
ol { list-style: none; padding: 0; margin: 0 0 1.5mm; }
li { padding-left: 6mm; position: relative; margin-bottom: 0.6mm; }
.box { position: absolute; left: 0; top: 0.5mm; width: 3.2mm; height: 3.2mm; border: 0.35mm solid #000; }
.line { clear: both; border-bottom: 0.2mm solid #777; height: 7.5mm; }
.line + .line { height: 8mm; }
.try { margin: 2mm 0 0; font-size: 8.5pt; overflow-wrap: anywhere; }
.answers { break-before: page; }
.answers section { border-top-width: 0.2mm; padding: 2mm 0; }
a { color: #000; }
@media screen { body { padding: 8mm; } }
"""


def page(base: str) -> str:
    """The handout in the reader's language; base is the app's own address, before the names of its pages."""
    written = tuple(Run(path).written for path in (cards.CLOSED, *cards.SWEPT.values(), cards.OUTLIERS, cards.SPHERE))
    return _page(language(), [base + cards.address(card) for card in cards.CARDS], written)


@st.cache_data(max_entries=12, show_spinner=False)
def _page(lang: str, links: list[str], written: tuple[str, ...]) -> str:
    numbers, drawn = cards.measured(), pictures()
    sheets = "".join(_sheet(n, card, drawn[n - 1], links[n - 1], numbers) for n, card in enumerate(cards.CARDS, 1))
    answers = "".join(_answer(n, card, numbers) for n, card in enumerate(cards.CARDS, 1))
    title, name = escape(t("What a network does not know")), escape(t("Name"))
    lead = escape(t("Eight ideas about open-set recognition. Tick an answer before you look at the last page."))
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(lang)}"><head><meta charset="utf-8"/><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"/><style>{STYLE}</style></head><body>'
        f'<div class="head"><div><h1>{title}</h1>{lead}</div><div>{name}: _________________________</div></div>{sheets}'
        f'<div class="answers"><h1>{escape(t("Answers"))}</h1>{answers}</div></body></html>\n'
    )


def _sheet(n: int, card: cards.Card, drawn: list[tuple[str, str]], link: str, numbers: dict[str, str]) -> str:
    options = "".join(f'<li><span class="box"></span>{cards.marked(t(option))}</li>' for option in card.options)
    figures = "".join(f"<div>{svg}<small>{cards.marked(caption)}</small></div>" for svg, caption in drawn)
    return (
        f'<section id="card-{n}"><h2>{n}. {escape(t(card.title))}</h2>'
        f'<div class="pictures{" two" if len(drawn) > 1 else ""}">{figures}</div>'
        f'<p>{cards.marked(t(card.idea))}</p><p class="formula">{cards.marked(card.formula)}</p>'
        f"<p><b>{cards.marked(t(card.question, **numbers))}</b></p><ol>{options}</ol>"
        f'<div class="line">{escape(t("Why do you think so?"))}</div><div class="line"></div>'
        f'<p class="try">{escape(t(card.task))} <a href="{escape(link)}">{escape(link)}</a></p></section>'
    )


def _answer(n: int, card: cards.Card, numbers: dict[str, str]) -> str:
    return (
        f"<section><h2>{n}. {escape(t(card.title))}: {cards.marked(t(card.options[card.right]))}</h2>"
        f"<p>{cards.marked(t(card.answer, **numbers))}</p></section>"
    )


# --- the pictures of the cards ---------------------------------------------------------------------------------------


def pictures() -> list[list[tuple[str, str]]]:
    """For each card one or two pictures with what stands below them."""
    run = Run(cards.DIGITS)
    return [[_confidence()], [_wheel(run)], [_loss(run)], [_scores(run)], [_pairs()], [_wheel(run), _map(run)],
            [_made_up()], [_sphere()]]  # fmt: skip


def _confidence() -> tuple[str, str]:
    out = Run(cards.CLOSED).outputs("test")
    surest = softmax(out.logits.astype(float)).max(1)
    nines = -np.log10(np.maximum(1 - surest, 1e-5))  # 1 is 90 %, 2 is 99 %, ...
    ticks = {-np.log10(1 - x): f"{100 * x:g}\u00a0%" for x in (0.5, *(1 - 0.1**n for n in range(1, 5)))}
    name = t("largest softmax probability")
    shown = histogram(nines[out.labels >= 0], nines[out.labels < 0], (0, 5), ticks, name)
    return shown, t("How sure a softmax network is of images on MNIST: of digits that it has learnt, and of others.")


def _wheel(run: Run) -> tuple[str, str]:
    test = run.outputs("test")
    frame = charts.wheel_frame(class_means(run.outputs("train")), test.anchors)
    places = charts.on_wheel(test.logits, *frame)[:, ::-1]  # angles go clockwise from the top
    anchors = charts.on_wheel(test.anchors, *frame)[:, ::-1]
    shown = scatter(places, test.labels, run.known_names, anchors, t("The anchor wheel"))
    return shown, t("Test images around the anchors ★ of their digits; × are digits never seen.")


def _map(run: Run) -> tuple[str, str]:
    labels = np.concatenate([run.outputs(split).labels for split in ("validation", "test")])
    shown = scatter(cards.map_places(run), labels, run.known_names, None, t("The map by UMAP"))
    return shown, t("The same outputs as laid out by UMAP.")


def _loss(run: Run) -> tuple[str, str]:
    epochs = [event["train"] for event in run.epochs()]
    tuplet = np.array([terms["tuplet"] for terms in epochs])
    pull = np.array([terms["total"] for terms in epochs]) - tuplet  # lambda times the anchor term
    shown = lines({"L_T": tuplet, "λ L_A": pull}, t("epoch"), t("The two terms of the loss"))
    return shown, t("The two terms of the loss in each epoch of the network for digits.")


def _scores(run: Run) -> tuple[str, str]:
    judge_one, test = gamma(run.outputs("train")), run.outputs("test")
    score = judge_one(test).score
    theta = metrics.theta_at(judge.KEPT, judge_one(run.outputs("validation")).score)
    scale = charts.Scale.of(score[test.labels >= 0], score[test.labels < 0])
    low, high = np.log10([scale.low, scale.high])
    exponents = range(int(np.ceil(low)), int(np.floor(high)) + 1, 2)
    ticks = {x: "10" + str(x).translate(RAISED) for x in exponents}
    logs = np.log10(scale.clip(score))
    name = t("smallest γ")
    known = test.labels >= 0
    shown = histogram(logs[known], logs[~known], (low, high), ticks, name, np.log10(theta))
    return shown, t("Scores of the test images; what lies to the right of θ is rejected.")


def _pairs() -> tuple[str, str]:
    report = sweep.report(Run(cards.SWEPT["CIFAR10"]))
    rows, columns = report["temperatures"], report["magnitudes"]
    values = np.array([cell["scores"]["gamma"]["auroc"] for cell in report["cells"]]).reshape(len(rows), len(columns))
    marks = {
        (rows.index(cell["temperature"]), columns.index(cell["magnitude"])): sign
        for sign, cell in (("★", report["oracle"]["gamma"]), ("▲", report["chosen"]["gamma"]))
    }
    shown = grid(values, [f"{x:g}" for x in rows], [f"{x:g}" for x in columns], marks, "T", "ε")
    return shown, t("AUROC in % on CIFAR10 for each pair: ▲ chosen without unknowns, ★ oracle.")


def _made_up() -> tuple[str, str]:
    run = Run(cards.OUTLIERS)
    _, xy, _ = systems.outliers_of(run)
    some = slice(None, None, 3)
    places, labels = np.concatenate([xy["train"][some], xy["unknown"][some]]), xy["labels"][some]
    labels = np.concatenate([labels, np.full(len(places) - len(labels), -1)])
    shown = scatter(places, labels, run.known_names, None, t("Virtual outliers"), xy["virtual"][some])
    return shown, t("Features of six digits in two dimensions, with virtual outliers ☆; × are digits never seen.")


def _sphere() -> tuple[str, str]:
    run = Run(cards.SPHERE)
    test, temperature = run.outputs("test"), systems.option(run, "temperature")
    centres, places = from_above(run.outputs("train").prototypes, test.logits.astype(float) * temperature)
    places = places * np.where(test.labels < 0, systems.OUT, 1)[:, None]
    shown = scatter(places[:, ::-1], test.labels, run.known_names, centres[:, ::-1], t("The sphere from above"))
    return shown, t("Three digits on the sphere, from above: prototypes ★, test images, and × digits never seen.")


# --- SVG -------------------------------------------------------------------------------------------------------------


def _svg(parts: list[str], name: str, wide: float = WIDE, high: float = HIGH) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" aria-label="{escape(name)}" '
        f'font-family="sans-serif" font-size="10">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, words: str, anchor: str = "middle", **look: str | int) -> str:
    more = "".join(f' {key.replace("_", "-")}="{escape(str(value))}"' for key, value in look.items())
    low = re.sub(r"_(\w)", r'<tspan dy="3" font-size="8">\1</tspan>', escape(words))
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{low}</text>'


def _name(x: float, y: float, words: str) -> str:
    """The name of a class, readable on top of the marks."""
    return _text(x, y + 5, words, font_size=14, font_weight="bold", stroke="#fff", stroke_width=4, paint_order="stroke")


def _line(x1: float, y1: float, x2: float, y2: float, dash: str = "none") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#000" stroke-dasharray="{dash}"/>'


def scatter(
    xy: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    stars: np.ndarray | None,
    name: str,
    beside: np.ndarray | None = None,
) -> str:
    """Places [N, 2], labels [N] (-1 unknown); stars [C, 2], such as anchors, or None; what is drawn beside them as ☆.

    The names of the classes stand beyond the stars, or else in the middle of each class.
    """
    beside = np.empty((0, 2)) if beside is None else beside
    every = np.concatenate([xy, beside, np.empty((0, 2)) if stars is None else stars * 1.25])
    middle = (every.min(0) + every.max(0)) / 2
    reach = (every.max(0) - every.min(0)).max() / 2 or 1.0
    size = HIGH / 2 - 8

    def place(points: np.ndarray) -> np.ndarray:
        return np.array([HIGH / 2, HIGH / 2]) + (points - middle) / reach * size * np.array([1, -1])

    parts = [
        _text(x, y + 3, "×" if c < 0 else names[c], font_size=8, fill="#000" if c < 0 else "#555")
        for (x, y), c in zip(place(xy), labels, strict=True)
    ]
    parts += [_text(x, y + 3, "☆", font_size=9) for x, y in place(beside)]
    if stars is None:
        middles = [np.median(xy[labels == c], axis=0) for c in range(len(names))]
        return _svg(
            [*parts, *(_name(*at, words) for at, words in zip(place(middles), names, strict=True))], name, HIGH, HIGH
        )
    (cx, cy), rim = place(np.zeros((1, 2)))[0], size / reach
    parts.insert(0, f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{rim:.1f}" fill="none" stroke="#999"/>')
    for at, beyond, words in zip(place(stars), place(stars * 1.25), names, strict=True):
        parts += [_text(at[0], at[1] + 5, "★", font_size=15), _name(*beyond, words)]
    return _svg(parts, name, HIGH, HIGH)


def histogram(
    known: np.ndarray, unknown: np.ndarray, ends: tuple[float, float], ticks: dict[float, str], name: str,
    theta: float | None = None,
) -> str:  # fmt: skip
    """Shares of the knowns upwards and of the unknowns downwards over one axis between its ends; theta dashed."""
    left, right, axis, half = 8, WIDE - 8, 106, 82
    edges = np.linspace(*ends, BINS + 1)
    shares = [np.histogram(x, edges)[0] / max(len(x), 1) for x in (known, unknown)]
    unit, step = half / max(share.max() for share in shares), (right - left) / BINS

    def across(x: float) -> float:
        return left + (x - ends[0]) / (ends[1] - ends[0]) * (right - left)

    parts = [
        f'<rect x="{left + n * step:.1f}" y="{axis - (share * unit if up else 0):.1f}" width="{step:.1f}" '
        f'height="{share * unit:.1f}" fill="{"#bbb" if up else "#fff"}" stroke="#000" stroke-width="0.7"/>'
        for up, side in ((True, shares[0]), (False, shares[1]))
        for n, share in enumerate(side)
        if share
    ]
    parts += [_line(left, axis, right, axis), _text(left, 20, t("known"), "start"),
              _text(left, axis + half + 4, t("never seen"), "start")]  # fmt: skip
    parts += [_text(min(across(x), right - 12), HIGH - 20, words) for x, words in ticks.items()]
    parts.append(_text((left + right) / 2, HIGH - 4, name))
    if theta is not None:
        parts += [_line(across(theta), 12, across(theta), axis + half + 6, "4 3"), _text(across(theta), 9, "θ")]
    return _svg(parts, name)


def lines(curves: dict[str, np.ndarray], across: str, name: str) -> str:
    """Curves by epoch, the first solid, the others dashed, each with its name at its beginning."""
    left, right, top, foot = 34, WIDE - 10, 14, HIGH - 34
    most = max(float(values.max()) for values in curves.values())
    parts = [_line(left, foot, right, foot), _line(left, top, left, foot), _text((left + right) / 2, HIGH - 4, across)]
    parts += [_text(left - 4, foot - y / most * (foot - top) + 3, charts.number(y), "end") for y in (0, most / 2, most)]
    for n, (label, values) in enumerate(curves.items()):
        x = np.linspace(left, right, len(values))
        y = foot - values / most * (foot - top)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        dash = "none" if not n else "5 3"
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="#000" stroke-width="1.5" stroke-dasharray="{dash}"/>'
        )
        at = len(values) // 3
        parts.append(_text(x[at] + 4, y[at] - 6, label, "start", font_size=12, font_weight="bold"))
    count = len(next(iter(curves.values())))
    parts += [_text(left, HIGH - 20, "1"), _text(right, HIGH - 20, str(count), "end")]
    return _svg(parts, name)


def grid(
    values: np.ndarray, rows: list[str], columns: list[str], marks: dict[tuple[int, int], str], down: str, across: str
) -> str:
    """Values [R, K] in cells, in percent, the larger the darker; marks by (row, column)."""
    left, top = 40, 6
    wide, high = (WIDE - left - 4) / len(columns), (HIGH - top - 36) / len(rows)
    low, most = float(values.min()), float(values.max())
    parts = []
    for (r, c), value in np.ndenumerate(values):
        grey = round(255 - 90 * (value - low) / ((most - low) or 1))
        x, y = left + c * wide, top + r * high
        parts += [
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" '
            f'fill="rgb({grey},{grey},{grey})" stroke="#fff"/>',
            _text(x + wide / 2, y + high / 2 + 4, f"{charts.share(value)}{marks.get((r, c), '')}",
                  font_weight="bold" if (r, c) in marks else "normal"),
        ]  # fmt: skip
    parts += [_text(left - 5, top + (r + 0.5) * high + 4, words, "end") for r, words in enumerate(rows)]
    parts += [_text(left + (c + 0.5) * wide, HIGH - 20, words) for c, words in enumerate(columns)]
    parts += [_text(6, top + 10, down, "start", font_weight="bold"),
              _text(left + wide * len(columns) / 2, HIGH - 5, across, font_weight="bold")]  # fmt: skip
    return _svg(parts, f"{down}, {across}")
