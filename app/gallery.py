"""All images behind a number: which these are, in which order, a page of them at a time, their tags, and their list.

A number of any page leads here by `go` or `link`, with what its images have in common: their truth, the decision about
them, a stretch of scores, a tag; or with their rows, where a lasso or another run chose them. N images, rows as in
`feeds.rows`: validation, test, then further sets.
"""

import csv
import functools
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import address, charts, feeds, holdings, links, thumbnails, verdicts
from app.setting import Setting
from app.words import phrases, t
from cac_core.data import datasets, images
from cac_core.exchange import tags
from cac_core.files import no_formula
from cac_core.recipe import IMPORTED
from cac_core.results.compare import Scored
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict
from cac_core.sentences import say

PAGE = 60  # images at a time
FURTHER = 9  # times that "more" can be asked for
SIDE = 104  # pixels of an image there
EVERY = "all"  # of the parts: validation, test and whatever else is there


def _score(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError
    return value


def _rows(text: str) -> str:
    if text in st.session_state.get("images_many", {}):
        return text
    if text == "here":  # of an older link: they were in its session alone
        raise ValueError
    return feeds.rows_in(text)


LINKS: links.Links = {
    "images_part": (str, "test"),
    "images_truth": (str, ""),
    "images_called": (str, ""),
    "images_low": (_score, None),
    "images_high": (_score, None),
    "images_tag": (str, ""),
    "images_text": (str, ""),
    "images_sets": (links.several, []),
    "images_rows": (_rows, ""),
    "images_order": (links.one_of("up", "down", "near", "number"), "up"),
    "images_view": (links.one_of("pictures", "table"), "pictures"),
    "images_page": (int, 1),
    "images_at": (str, ""),
}
TRUTHS = phrases({"": "all classes", "known": "known classes", "never": "never seen"})
DECISIONS = phrases({
    "": "all decisions", "accepted": "accepted", "rejected": "called unknown", "right": "decided right",
    "wrong": "decided wrong", "another": "called another class", "near": "nearest class right",
    "far": "nearest class wrong",
})  # fmt: skip
ORDERS = phrases({
    "up": "lowest score first", "down": "highest score first", "near": "nearest to θ first", "number": "by number",
})  # fmt: skip

_component = st.components.v2.component(
    "anchorscope_gallery",
    html="<ul class='tiles'></ul>",
    css=(Path(__file__).parent / "gallery.css").read_text("utf-8"),
    js=(Path(__file__).parent / "gallery.js").read_text("utf-8"),
)


@dataclass(frozen=True)
class Some:
    """A run's images, and what is decided about them as it is set.

    verdict: less the theta of the nearest class where each has its own, as theta is. called: further sets by split.
    """

    run: Run
    every: feeds.Rows
    verdict: Verdict
    theta: float
    called: dict[str, str]

    @functools.cached_property
    def rejected(self) -> np.ndarray:
        return metrics.rejected(self.verdict.score, self.theta)

    @property
    def labels(self) -> np.ndarray:
        return self.every.outputs.labels

    def split(self, row: int) -> str:
        return self.every.splits[self.every.split[row]]

    def number(self, row: int) -> int:
        """The image's place in the part of its data set."""
        return int(self.every.outputs.index[row])

    def part(self, split: str) -> str:
        """Of a data set, "train" or "test"."""
        return "train" if split == "validation" and self.run.validated_on != datasets.SET_ASIDE else "test"

    def dataset(self, split: str) -> str:
        return self.called.get(split, self.run.recipe.dataset)

    def key(self, row: int) -> str:
        """What an address calls the image."""
        return key_of(self.every, row)

    def row(self, key: str) -> int | None:
        split, _, number = key.rpartition("-")
        if split not in self.every.splits or not number.isdecimal():
            return None
        mine = np.flatnonzero(self.every.split == self.every.splits.index(split))
        found = mine[self.every.outputs.index[mine] == int(number)]
        return int(found[0]) if len(found) else None

    def truth(self, row: int) -> str:
        if self.every.split[row] >= 2:
            return self.called[self.split(row)]
        return self.run.class_names[self.every.outputs.classes[row]]

    def decision(self, row: int) -> str:
        return t("unknown") if self.rejected[row] else self.nearest(row)

    def nearest(self, row: int) -> str:
        return self.run.known_names[self.verdict.label[row]]

    @functools.cached_property
    def right(self) -> np.ndarray:
        """[N] whether the decision is: unknowns rejected, knowns accepted and named right."""
        known = self.labels >= 0
        return np.where(known, ~self.rejected & (self.verdict.label == self.labels), self.rejected)


def key_of(every: feeds.Rows, row: int) -> str:
    return f"{every.splits[every.split[row]]}-{every.outputs.index[row]}"


def of(now: Setting, sets: tuple[str, ...] = ()) -> Some:
    there = feeds.further(now.run)
    return Some(now.run, feeds.rows(now.run, sets), feeds.scored(now, sets), now.theta, {s: there[s] for s in sets})


def sets_in(name: str, run: Run) -> tuple[str, ...]:
    """The further sets that are chosen under this name; one that the run has not is let go, and refused of a link."""
    chosen = st.session_state.get(name) or []
    there = [split for split in chosen if split in feeds.further(run)]
    if there != chosen:
        links.refuse(name)
        st.session_state[name] = there
    return tuple(there)


def judged(run: Run, own: Scored) -> Some:
    """By one score at its defaults, as runs are compared."""
    said = verdicts.judged(run, own.scorer)
    both = Verdict(*(np.concatenate([getattr(said.validation, part), getattr(said.test, part)])
                     for part in ("score", "label")))  # fmt: skip
    return Some(run, feeds.rows(run), both, own.theta, {})


@dataclass(frozen=True)
class Asked:
    """Which of the images, and in which order: all that has been set on the page, or came with a link.

    truth: one of TRUTHS, or c and a class number. called: one of DECISIONS, or c and the number of a known class. low,
    high: scores from low to below high. rows: these alone, or None.
    """

    part: str = "test"
    truth: str = ""
    called: str = ""
    low: float | None = None
    high: float | None = None
    tag: str = ""
    text: str = ""
    rows: tuple[int, ...] | None = None
    order: str = "up"


def chosen(some: Some, asked: Asked, marks: "Tagged") -> np.ndarray:
    """The rows that are asked for, in order; ties are in the order of the rows."""
    score, label, out = some.verdict.score, some.verdict.label, some.every.outputs
    keep = np.ones(len(score), bool)
    if asked.rows is not None:
        keep[:] = False
        keep[[row for row in asked.rows if 0 <= row < len(score)]] = True
    elif asked.part != EVERY and asked.part in some.every.splits:
        keep &= some.every.split == some.every.splits.index(asked.part)
    known, own = some.labels >= 0, some.every.split < 2
    if asked.truth in ("known", "never"):
        keep &= known == (asked.truth == "known")
    elif (number := _number(asked.truth)) is not None:
        keep &= own & (out.classes == number)
    decided = {
        "accepted": ~some.rejected, "rejected": some.rejected, "right": some.right, "wrong": ~some.right,
        "another": ~some.rejected & (label != some.labels), "near": known & (label == some.labels),
        "far": known & (label != some.labels),
    }  # fmt: skip
    if asked.called in decided:
        keep &= decided[asked.called]
    elif (number := _number(asked.called)) is not None:
        keep &= ~some.rejected & (np.array(some.run.trial.known)[label] == number)
    keep &= (score >= asked.low) if asked.low is not None else True
    keep &= (score < asked.high) if asked.high is not None else True
    rows = np.flatnonzero(keep)
    if asked.tag:
        rows = np.array([row for row in rows if asked.tag in marks.of(row)], int)
    if asked.text.strip():
        rows = _searched(some, rows, asked.text, marks)
    by = {"up": score[rows], "down": -score[rows], "near": np.abs(score[rows] - some.theta), "number": rows}
    return rows[np.argsort(by[asked.order], kind="stable")]


def _number(said: str) -> int | None:
    return int(said[1:]) if said[:1] == "c" and said[1:].isdecimal() else None


def _searched(some: Some, rows: np.ndarray, text: str, marks: "Tagged") -> np.ndarray:
    """Numbers and stretches of numbers, 3, 10-19, else what stands in the name of the file or of the class."""
    wanted = text.strip().casefold()
    parts = [[end.strip() for end in part.split("-")] for part in wanted.replace("–", "-").split(",")]
    if all(len(ends) <= 2 and all(end.isdecimal() and len(end) < 10 for end in ends) for ends in parts):
        index, keep = some.every.outputs.index[rows], np.zeros(len(rows), bool)
        for ends in parts:
            keep |= (index >= int(ends[0])) & (index <= int(ends[-1]))
        return rows[keep]
    found = [
        row for row in rows if wanted in (marks.name(row) or "").casefold() or wanted in some.truth(row).casefold()
    ]
    return np.array(found, int)


# --- what images are called, and their tags --------------------------------------------------------------------------


@dataclass(frozen=True)
class Tagged:
    """What images are called where tags are kept, and the tags of each data set that is among them.

    paths: of each split the paths of its part of an image folder, or of any other data set what the part is called;
    None of an image folder that is not here, or no longer what the run was made of: nobody can say which is which.
    """

    some: Some
    paths: dict[str, list[str] | str | None]
    tags: dict[str, tags.Tags]

    def name(self, row: int) -> str | None:
        """cat/3.jpg or test-17; None where nobody can say."""
        there, number = self.paths[self.some.split(row)], self.some.number(row)
        if isinstance(there, str):
            return f"{there}-{number}"
        return there[number] if there is not None and number < len(there) else None

    def of(self, row: int) -> list[str]:
        """The tags that an image bears."""
        name = self.name(row)
        return [tag for tag, images in self.tags[self.some.dataset(self.some.split(row))].items() if name in images]

    @property
    def words(self) -> list[str]:
        """The tags that one can put on: the usual ones first, then those that are there."""
        return list(dict.fromkeys([*tags.USUAL, *self.there]))

    @property
    def there(self) -> list[str]:
        return sorted({tag for found in self.tags.values() for tag in found})


def tagged(some: Some) -> Tagged:
    root, splits = datasets.root_of(), some.every.splits
    found = {name: tags.read(root, name) for name in dict.fromkeys(map(some.dataset, splits))}
    return Tagged(some, {split: _paths(some, split) for split in splits}, found)


def _paths(some: Some, split: str) -> list[str] | str | None:
    dataset, part = some.dataset(split), some.part(split)
    if dataset in datasets.DATASETS or some.run.recipe.backbone == IMPORTED:
        return part
    found = _pixels(some, split)
    if isinstance(found, str) or (dataset == some.run.recipe.dataset and holdings.changed(some.run)):
        return None
    try:
        said = datasets.paths(dataset, datasets.root_of()).get(part, [])
    except (ValueError, OSError):
        return None
    return said if len(said) == len(found) else None


def change_tag(work: Callable, marks: Tagged, tag: str, rows: Iterable[int]) -> None:
    """tags.put or tags.take, of images of whichever data sets. Raises ValueError where it cannot be."""
    by: dict[str, list[str]] = {}
    for row in rows:
        if (name := marks.name(row)) is None:
            raise ValueError(say("Image {number} cannot be tagged: the images of {name} are not here, or are others "
                                 "than those of the run.", number=marks.some.number(row),
                                 name=marks.some.dataset(marks.some.split(row))))  # fmt: skip
        by.setdefault(marks.some.dataset(marks.some.split(row)), []).append(name)
    for dataset, names in by.items():
        work(datasets.root_of(), dataset, tag, names)


# --- pictures --------------------------------------------------------------------------------------------------------


def _pixels(some: Some, split: str) -> Any:
    """All images of a part of a data set, or why they cannot be shown."""
    if split in some.called:
        return thumbnails.pixels_of(some.called[split], some.run.made_of(split))
    return thumbnails.pixels(some.run, some.part(split))


def pixels(some: Some, row: int) -> np.ndarray | str:
    """An image [H, W, C] as the network saw it, or why it cannot be shown."""
    found = _pixels(some, some.split(row))
    return found if isinstance(found, str) else _one(some, row, found)


def _one(some: Some, row: int, found: np.ndarray) -> np.ndarray:
    number = some.number(row)
    if some.split(row) in some.called:
        return images.converted(found[[number]], some.run.row)[0]
    return found[number]


def pictures(some: Some, rows: Sequence[int]) -> tuple[list[str | None], list[str]]:
    """Small pictures of these images as addresses, and the reasons why some have none."""
    run, root = some.run, str(datasets.root_of().absolute())
    there = {split: _pixels(some, split) for split in dict.fromkeys(some.split(row) for row in rows)}
    written = {split: feeds.written(run, (split,)) for split in there}
    made = []
    for row in rows:
        found = there[some.split(row)]
        said = str(run.path), written[some.split(row)], root, some.key(row)
        made.append(None if isinstance(found, str) else _picture(*said, some, row, found))
    return made, list(dict.fromkeys(found for found in there.values() if isinstance(found, str)))


@st.cache_data(max_entries=6000, show_spinner=False)
def _picture(path: str, written: str, root: str, key: str, _some: Some, _row: int, _found: np.ndarray) -> str:
    image = _one(_some, _row, _found)
    return thumbnails.inline(thumbnails.enlarged(image, SIDE if len(image) > 2 * SIDE else len(image)), most=8000)


# --- the list, on a page ---------------------------------------------------------------------------------------------


def words_of(some: Some, row: int) -> dict[str, str]:
    """An image's truth, decision and score, as a person reads them."""
    truth = some.truth(row)
    if some.labels[row] < 0 and some.every.split[row] < 2:
        truth = t("{name}, never seen", name=truth)
    return {"truth": truth, "decision": some.decision(row), "score": charts.number(float(some.verdict.score[row]))}


def grid(
    some: Some, rows: Sequence[int], marks: Tagged, key: str, opened: Callable[[], None],
    pick: Callable[[], None] | None = None, turn: int = 0, here: bool = False,
    lines: Sequence[Sequence[str]] | None = None,
) -> tuple[bool, list[str]]:  # fmt: skip
    """Tiles of these images, in their order, unless there is no picture of any. Gives whether there are, and the
    reasons why some have none.

    opened is called when one is clicked, its key then stands in st.session_state[key]["opened"]; pick when some are
    ticked, whose keys are in ["picked"], until turn is another. here: whether it opens on this page. lines: what is
    said of each in the place of the decision and whether that is right.
    """
    found, why = pictures(some, rows)
    if not any(found):
        return False, why
    right, tiles = some.right, []
    for n, (row, source) in enumerate(zip(rows, found, strict=True)):
        said, borne_here = words_of(some, row), marks.of(row)
        decisions = list(lines[n]) if lines else [f"→ {said['decision']}"]
        wrong = [] if right[row] or lines else [t("wrong")]
        label = t("Image {number}, truth {truth}, score {score}", number=some.number(row), truth=said["truth"],
                  score=said["score"])  # fmt: skip
        tiles.append({
            "key": some.key(row), "source": source, "truth": said["truth"], "decisions": decisions,
            "numbers": f"{said['score']} · #{some.number(row)}", "wrong": wrong, "tags": list(map(word, borne_here)),
            "label": ", ".join([label, *decisions, *wrong, *map(word, borne_here)]),
        })  # fmt: skip
    last = st.session_state.pop("images_last", "") if here else ""
    tiled(key, tiles, opened, pick, turn=turn, here=here, last=last)
    return True, why


def tiled(
    key: str, tiles: list[dict[str, Any]], opened: Callable[[], None], pick: Callable[[], None] | None = None,
    **more: Any,
) -> None:  # fmt: skip
    """Tiles as gallery.js takes them, as `grid` does."""
    data = {"tiles": tiles, "turn": 0, "picks": pick is not None, "here": False, "last": ""} | more
    words = {"tick": t("Choose"), "none": t("no picture")}
    _component(key=key, on_opened_change=opened, on_picked_change=pick or _nothing, data=data | words)


def _nothing() -> None:
    """A word of the component is heard only where a callback stands for it."""


def table(some: Some, rows: Sequence[int], marks: Tagged) -> dict[str, list]:
    """The same as a table, in the same order."""
    right, called = some.right, [marks.name(row) for row in rows]
    columns = {
        t("image"): [some.number(row) for row in rows],
        t("set"): [some.called.get(some.split(row), some.split(row)) for row in rows],
        t("truth"): [words_of(some, row)["truth"] for row in rows],
        t("nearest class"): [some.nearest(row) for row in rows],
        t("decision"): [some.decision(row) for row in rows],
        t("right"): [bool(right[row]) for row in rows],
        t("score"): [float(some.verdict.score[row]) for row in rows],
        t("tags"): [", ".join(map(word, marks.of(row))) for row in rows],
    }
    return columns | ({t("file"): called} if any(name and "/" in name for name in called) else {})


def as_csv(table: dict[str, list]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table)
    writer.writerows(zip(*([no_formula(cell) for cell in column] for column in table.values()), strict=True))
    return text.getvalue()


# --- what is set ------------------------------------------------------------------------------------------------------


def arrive(run: Run) -> None:
    """What the address says, as one comes to the page: a link says all that is not at its default.

    After that the browser's Back and Forward alone say which image is open.
    """
    state, said = st.session_state, links.brought("images_")
    if state.get("images_of") not in (None, run.id):
        clear()
    state.images_of = run.id
    if not said:
        if (at := st.query_params.get("images_at", "")) != state.get("images_said_at", ""):
            state.images_last, state.images_at = "" if at else state.get("images_at", ""), at
        return
    clear()
    for name, (read, _) in LINKS.items():
        try:
            if name in said:
                state[name] = read(said[name])
        except ValueError:
            links.refuse(name)


def clear() -> None:
    """All test images, none of them open."""
    for name, (_, default) in LINKS.items():
        if name != "images_view":
            st.session_state[name] = default
    st.session_state.images_more, st.session_state.images_picked = 0, []


def asked(some: Some) -> Asked:
    said = {name: st.session_state.get(f"images_{name}") for name in
            ("part", "truth", "called", "low", "high", "tag", "text", "order")}  # fmt: skip
    said = {name: value for name, value in said.items() if value is not None}
    text = st.session_state.get("images_rows") or ""
    text = st.session_state.get("images_many", {}).get(text, text)
    return Asked(**said, rows=tuple(some.every.unpacked(text)) if text else None)


def in_link() -> dict[str, str | None]:
    """What an address says of it."""
    st.session_state.images_said_at = st.session_state.get("images_at") or ""
    return links.written(LINKS, {name: st.session_state.get(name) for name in LINKS})


# --- how one comes here ----------------------------------------------------------------------------------------------


def go(run: Run, scorer: str | None = None, **said: Any) -> None:
    """To the images of a run with this in common: fields of Asked, sets, and at, the key of one that is open."""
    if "rows" in said:
        said["rows"] = text = feeds.rows(run, tuple(said.get("sets", ()))).packed(said["rows"])
        if len(text) > links.LONG:  # more stay in the session
            said["rows"] = f"here-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
            st.session_state.setdefault("images_many", {})[said["rows"]] = text
    asks = {"run": run.id} | ({"scorer": scorer} if scorer else {})
    address.go("images", asks | links.written(LINKS, {f"images_{name}": value for name, value in said.items()}))


def want(said: dict[str, Any], run: Run) -> None:
    """Somebody asks in a live view for the images behind a number, before the page runs; `follow` goes there."""
    st.session_state.images_wanted = counted(said, run)


def follow(run: Run) -> None:
    if (wanted := st.session_state.pop("images_wanted", None)) is not None:
        go(run, **wanted)


def link(label: str, icon: str, **said: Any) -> None:
    """A link to them, for what is not chosen row by row."""
    address.link("images", label, icon, links.written(LINKS, {f"images_{name}": v for name, v in said.items()}))


def word(tag: str) -> str:
    """A tag as it is read: the usual ones in the reader's language."""
    return {"mislabelled": t("mislabelled"), "interesting": t("interesting")}.get(tag, tag)


def counted(said: dict[str, Any], run: Run) -> dict[str, Any]:
    """What a live view asks for, as `go` takes it: classes there are places among the known ones, an image is a row."""
    found = dict(said)
    if (row := found.pop("row", None)) is not None:
        found["at"] = key_of(feeds.rows(run), row)
    for name in ("truth", "called"):
        if isinstance(found.get(name), int):
            found[name] = f"c{run.trial.known[found[name]]}"
    return found
