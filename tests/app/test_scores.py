"""All scores on a page: which are offered and why others are not, their options, and the table of all of them."""

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import wording
from cac_core import runs, shell
from cac_core.scoring import scorers
from tests.waiting import LONG

ROOT = Path(__file__).parents[2]
OFFERED = scorers.scorers_for("cac")


@pytest.fixture
def thresholds(make_run, tmp_path, monkeypatch):
    """thresholds(leave_out=()): the page over a run on which every score can be had, but for what its outputs lack."""

    def opened(leave_out: tuple[str, ...] = (), **query: str) -> AppTest:
        run = make_run()
        file = run.path / "outputs" / "train.npz"
        with np.load(file) as arrays:
            kept = {name: arrays[name] for name in arrays.files if name not in leave_out}
        runs.write_npz(file, **kept)
        monkeypatch.setenv("ANCHORSCOPE_RUNS", str(run.path.parent))
        monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
        at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=LONG)
        for name, value in ({"run": run.id} | query).items():
            at.query_params[name] = value
        at.run()
        return fine(at.switch_page("app/pages/thresholds.py").run())

    return opened


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    assert not at.error, [e.value for e in at.error]
    return at


def listed(at: AppTest) -> list[str]:
    return [option.split(" · ")[0] for option in at.selectbox(key="scorer").options]


def test_every_score_is_offered_by_groups_the_methods_own_first(thresholds):
    at = thresholds()
    assert sorted(listed(at)) == sorted(wording.SHORT[name] for name in OFFERED)
    groups = [option.split(" · ")[1] for option in at.selectbox(key="scorer").options]
    assert groups[:2] == ["the method's own"] * 2 and listed(at)[0] == "γ"
    assert list(dict.fromkeys(groups)) == list(wording.GROUPS.values())


@pytest.mark.parametrize("name", [name for name in OFFERED if name not in scorers.REPORTED])
def test_each_score_judges_with_its_options(thresholds, name):
    at = fine(thresholds().selectbox(key="scorer").set_value(name).run())
    for option, default in scorers.scorer_options(name).items():
        assert at.session_state[option] == default
    assert ("only unknown images could tell" in " ".join(c.value for c in at.caption)) == (name in scorers.UNSURE)


def test_the_options_of_one_score_are_not_anothers(thresholds):
    at = fine(thresholds().selectbox(key="scorer").set_value("ash_p").run())
    at = fine(at.number_input(key="prune").set_value(30.0).run())
    at = fine(at.selectbox(key="scorer").set_value("ash_s").run())
    assert at.number_input(key="prune").value == 90
    at = fine(at.selectbox(key="scorer").set_value("knn").run())
    assert at.number_input(key="k").value == 0
    at = fine(at.selectbox(key="scorer").set_value("nnguide").run())
    assert at.number_input(key="k").value == 10 and at.number_input(key="k").label.startswith("Neighbours")


def test_what_a_run_does_not_allow_is_not_offered_and_says_why(thresholds):
    at = thresholds(leave_out=("head",))
    gone = [wording.SHORT[name] for name in (*scorers.READ["head"], "residual", "vim", "fdbd")]
    assert not set(gone) & set(listed(at)) and "k nearest" in listed(at)
    why = next(m.value for m in at.markdown if "no linear head" in m.value)
    assert all(name in why for name in gone)
    assert any(c.value == shell.command("eval", "toy", "--again") for c in at.code)


def test_a_link_to_a_score_that_is_not_offered_says_why(thresholds):
    with pytest.raises(AssertionError, match="no linear head"):
        thresholds(leave_out=("head",), scorer="vim")


def test_all_scores_stand_in_one_table_at_a_click(thresholds):
    at = thresholds()
    at = fine(at.button(key="compare_scores").click().run())
    table = at.dataframe[-1].value
    assert len(table) == len(OFFERED) and table["Score"].iloc[0] == "γ"
    assert {"AUROC", "AUROC, 95 % interval", "seconds", "reads"} <= set(table.columns)
    assert table["AUROC"].between(0, 100).all() and table["seconds"].gt(0).all()
    assert not [button for button in at.button if button.key == "compare_scores"]
