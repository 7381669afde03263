"""Pages over a store with spoilt runs in it, and a thousand addresses that somebody has made up: no page is lost."""

import logging
import random
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import links
from cac_core.runs import Run
from tests import mutants

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "checkpoints" / "digits-osrci-0-cac-small-s0"
OF_RUN = ("home", "space", "thresholds", "images", "sweep", "try")
PAGES = (*OF_RUN, "lessons", "anchors", "data", "new", "live", "runs", "compare", "reproduce")
SPOILT = 8  # runs beside the good one
ADDRESSES = 1000
OPENED = 3  # addresses of these that each page is opened at


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    shutil.copytree(BUNDLED, tmp_path / "runs" / "good")
    return tmp_path


def opened(page: str, **address: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=120)
    for name, value in address.items():
        at.query_params[name] = value
    at.run()
    if page != "home":
        at.switch_page(f"app/pages/{page}.py").run()
    assert not at.exception, (page, address, [error.value for error in at.exception])
    return at


@pytest.mark.parametrize("seed", range(3))
def test_pages_over_spoilt_runs_are_not_lost_and_the_good_one_stays_usable(place, seed):
    outside = place / "outside"
    outside.mkdir()
    (outside / "secret").write_text("{}")
    for number in range(SPOILT):
        bad = Run(place / "runs" / f"bad-{number}")
        shutil.copytree(BUNDLED, bad.path)
        mutants.mutant(bad.path, outside, random.Random(f"{seed} {number} pages"))
    for page in PAGES:
        at = opened(page, run="good", scorer="gamma")
        assert not at.error or page in ("runs", "compare", "reproduce", "live"), (
            page,
            [error.value for error in at.error],
        )
    for number in range(SPOILT):
        opened(OF_RUN[number % len(OF_RUN)], run=f"bad-{number}")
    opened("compare", ids=",".join(f"bad-{number}" for number in range(SPOILT)))
    for number in range(3):
        opened("live", watched=f"bad-{number}")


def test_a_thousand_addresses_are_read_or_passed_over():
    """By the tables of all pages, as `links.read_link` does; what a page reads beside them is read as it is opened."""
    tables = mutants.tables_of_addresses()
    assert len(tables) > 4 and links.LINKS in tables
    for case in range(ADDRESSES):
        rng = random.Random(case)
        table = rng.choice(tables)
        for name, value in mutants.address(list(table), rng).items():
            read = table[name][0]
            try:
                read(value)
            except ValueError:
                continue


@pytest.mark.parametrize("page", PAGES)
def test_a_page_at_an_address_that_somebody_made_up_is_not_lost(page):
    logging.disable(logging.WARNING)
    for case in range(OPENED):
        opened(page, **{"run": "good"} | mutants.address(mutants.names_in_addresses(), random.Random(f"{page} {case}")))


@pytest.mark.parametrize("text", ["a\nb", "1,\r2", "x" * 200_000, '"a\n', "a," * 5000])
def test_a_list_in_an_address_is_read_or_is_none(text):
    try:
        assert all(isinstance(word, str) for word in links.several(text))
    except ValueError:
        assert "\n" in text or "\r" in text or len(text) > 100_000
