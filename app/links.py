"""What a link carries: the state that stands in the address, how it is read and written."""

import csv
import io
import math
from collections.abc import Callable
from typing import Any

import streamlit as st

from app import address, picker, setting, sheet, wording
from app.words import t
from cac_core.data.images import WAYS, way_of
from cac_core.results import judge
from cac_core.scoring.distances import CENTRES
from cac_core.scoring.features import COVARIANCES, SCALINGS
from cac_core.scoring.logits import METRICS
from cac_core.scoring.scorers import SCORERS


def one_of(*choices: str) -> Callable[[str], str]:
    return lambda text: choices[choices.index(text)]


def between(low: float, high: float, kind: type = float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not low <= (value := kind(text)) <= high:
            raise ValueError
        return value

    return read


def yes(text: str) -> bool:
    return one_of("false", "true")(text) == "true"


def several(text: str) -> list[str]:
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:  # a line break, or more than a list is ever long
        raise ValueError from error


def numbers(text: str) -> list[int]:
    return [int(part) for part in several(text)]


def different(count: int) -> Callable[[str], list[int]]:
    def read(text: str) -> list[int]:
        if len(found := numbers(text)) != count or len({n for n in found if n >= 0}) != count:
            raise ValueError
        return found

    return read


VIEWS = ("wheel", "solid", "plane", "strip", "pca", "umap")
# by name: how the address is read, and what need not stand in it. Not Streamlit's own binding of widgets: that drops
# from the address what is in a closed popover or expander, or on a page that one has left
Links = dict[str, tuple[Callable[[str], Any], Any]]
LINKS: Links = {  # of all pages about a run; another page has its own
    "scorer": (one_of(*SCORERS), None),
    "theta": (between(-math.inf, math.inf), None),
    "kept": (between(1, 100), setting.NUMBERS["kept"]),
    "rule": (one_of(*setting.ORACLES), None),
    "share": (between(0, 100), setting.NUMBERS["share"]),
    "ratio": (between(0.01, 1000), setting.NUMBERS["ratio"]),
    "accept": (between(0, 100), setting.NUMBERS["accept"]),
    "centres": (one_of(*CENTRES), "means"),
    "temperature": (between(0.01, 1000), 1.0),
    **{name: (between(1, 100_000, int), None) for name in wording.COUNTS},
    **{name: (between(0, 99.9), None) for name in wording.PERCENTILES},
    "power": (between(0.01, 10), 0.1),
    "metric": (one_of(*METRICS), "euclidean"),
    "covariance": (one_of(*COVARIANCES), "shared"),
    "scaling": (one_of(*SCALINGS), "none"),
    "epsilon": (between(0, 1), 0.0),
    "odin": (between(1e-6, 1e6), None),
    "each": (yes, False),
    "as": (one_of(*WAYS), None),
    "order": (one_of("similar", "number", "own"), "similar"),
    "around": (numbers, None),
    "without": (several, None),
    "published": (yes, False),
    "view": (one_of(*VIEWS), "wheel"),
    "epoch": (between(0, 1_000_000, int), None),
    "axis": (one_of("auto", "score", "quantiles"), "auto"),
    "own_as": (one_of(*sheet.VIEWS), "grid"),
    "own_order": (one_of(*sheet.ORDERS), "given"),
    "own_show": (one_of(*sheet.SHOWN), "all"),
    "own_near": (str, ""),
}


LONG = 6000  # characters of rows that an address holds
LOOKS = ("share", "order", "view", "without", "published")  # what holds for any run; the rest is for the one it names


def arrive(page: str) -> None:
    """What the address asks for, read when one comes to a page: a link opens its run, whatever was chosen before.

    The same where Back or Forward names another run on the same page. After that the session's own choice counts, and
    the address follows it a moment later. So what is set for a run is read once a session, or again with another run;
    what one page alone has in its address, each time one comes there.
    """
    state = st.session_state
    moved = address.moved() is not None
    if state.get("arrived") != page or moved:
        if not moved:
            setting.hold()
        state.arrived, state.not_taken = page, {}
        another = picker.asked_for(st.query_params.get("run"))
        for name in LINKS if another else ():  # a link says all that is not at its default
            if name not in st.query_params and name != "scorer":
                state.pop(name, None)
        state.linked = set() if another else state.get("linked", set()) & set(LINKS)
    read_link()


def read_link(links: Links = LINKS) -> set[str]:
    """What the address says, each name once, as arrive has it; what makes no sense is refused. The names read.

    Nor does what it sets for a run that is not here count for the one that is shown in its place.
    """
    known, found = st.session_state.setdefault("linked", set()), set()
    elsewhere = links is LINKS and picker.missing(st.query_params.get("run"))
    for name, (read, _) in links.items():
        if name in st.query_params and name not in known:
            if elsewhere and name not in LOOKS:
                st.session_state.passed_over = st.query_params["run"]
                continue
            try:
                st.session_state[name] = read(st.query_params[name])
                found.add(name)
            except ValueError:
                refuse(name)
            if name in ("theta", "rule"):
                setting.taken()
    known |= set(links)
    return found


def refuse(name: str) -> None:
    """What the address says under this name cannot be; `refused` says so."""
    if (text := st.query_params.get(name)) is not None:
        st.session_state.setdefault("not_taken", {})[name] = text


def refused() -> None:
    """What of the address was not taken, in a sentence, as long as one stays on the page."""
    if asked := st.session_state.get("not_taken"):
        each = [f"**{wording.plain(f'{name}={text[:40]}')}**" for name, text in asked.items()]
        st.warning(
            t("The link asks for what cannot be here, which was left as it is: {what}.", what=t(", ").join(each)),
            icon=":material/link_off:",
        )


def brought(prefix: str) -> dict[str, str]:
    """What the address says under names that begin so, once as one comes to the page."""
    known = st.session_state.setdefault("linked", set())
    if prefix in known:
        return {}
    known.add(prefix)
    return {name: st.query_params[name] for name in st.query_params if name.startswith(prefix)}


def write_link(**more: str | None) -> None:
    """Puts what is set for a run into the address, and more; each page about it does so at its end."""
    said = {name: st.session_state.get(name) for name in LINKS}
    if said["scorer"] == judge.default_of(picker.chosen_run()):
        said["scorer"] = None
    row = picker.chosen_run().row
    if not row.drawn or said["as"] == way_of(row):
        said["as"] = None
    if not said["epsilon"]:
        said["odin"] = None
    if said["order"] != "own":
        said["around"] = None
    said["without"] = said["without"] or None
    # Streamlit puts what a way to another page carries into the address of the page that one leaves, too
    left = {name: None for name in st.query_params if name.startswith("images_")}
    put_in_link(LINKS, said, **(left | more))


def put_in_link(links: Links, said: dict[str, Any] | None = None, **more: str | None) -> None:
    """Puts these values, or else what is set, into the address; of what is at its default nothing stands there."""
    said = {name: st.session_state.get(name) for name in links} if said is None else said
    address.show(written(links, said) | more)


def written(links: Links, said: dict[str, Any]) -> dict[str, str | None]:
    """These values as they stand in an address; None for one that is at its default."""
    return {name: None if value in (None, links[name][1]) else _in_link(value) for name, value in said.items()}


def _in_link(value: Any) -> str:
    if isinstance(value, list):
        file = io.StringIO()
        csv.writer(file, lineterminator="").writerow(value)
        return file.getvalue()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):  # the same number again: one that is a score, to all its digits, decides about it
        return short if float(short := f"{value:.12g}") == value else repr(float(value))
    return str(value)
