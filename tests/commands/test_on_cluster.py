"""train, score and queue with a cluster, whose engine stands in for one: it takes what it is given and says so."""

import json
import shlex

import pytest

from cac_core import recipe, runs
from cac_core.__main__ import main
from cac_core.jobs import clusters, launch
from cac_core.jobs.engines import Needs, Seen, Slots
from cac_core.results import evaluate

FILE = "[gpu]\nengine = 'slurm'\nmemory = '2G'\n"


class Scheduler:
    def __init__(self):
        self.tasks, self.said = [], Seen("queued")

    def submit(self, tasks, needs):
        self.tasks += tasks

    def states(self, tickets):
        return dict.fromkeys(tickets, self.said)

    def slots(self):
        return Slots((3, 4))

    def stop(self, ticket, *, hard):
        pass


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    (tmp_path / "clusters.toml").write_text(FILE)
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(tmp_path / "clusters.toml"))
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(tmp_path / "a store"))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(clusters, "EVERY", 0.0)
    found = Scheduler()
    monkeypatch.setattr(clusters.Cluster, "engine", lambda self, folder: found)
    return found


def said(capsys, *words: str, code: int = 0) -> str:
    assert main(list(words)) == code
    told = capsys.readouterr()
    return told.out if code == 0 else told.err


@pytest.mark.parametrize("words", [
    ("train", "--nodes", "2"), ("train", "--memory", "4G", "--cpus", "2"), ("score", "x", "y", "--parts", "2"),
])  # fmt: skip
def test_what_only_a_cluster_gives_is_not_passed_over_without_one(scheduler, tmp_path, capsys, words):
    assert "--on CLUSTER" in said(capsys, *words, code=1)
    assert not scheduler.tasks
    assert not (tmp_path / "a store").exists()


def test_an_empty_name_is_no_cluster(scheduler, capsys):
    assert "There is no cluster ''" in said(capsys, "train", "--on", "", code=1)


def test_a_training_that_waits_is_not_passed_off_as_one_that_asks_for_more(scheduler, tmp_path, capsys):
    told = said(capsys, "train", "--on", "gpu")
    (line,) = [line.strip() for line in told.splitlines() if line.strip().startswith("python")]
    assert said(capsys, *shlex.split(line)[3:]).startswith(launch.jobs(tmp_path / "a store")[0].id)
    assert "on gpu" in said(capsys, "train", "--on", "gpu")  # the very same once more is that one
    told = said(capsys, "train", "--on", "gpu", "--cpus", "99", code=1)
    assert "asked for otherwise" in told
    assert f"--stop {launch.jobs(tmp_path / 'a store')[0].id}" in told
    assert len(scheduler.tasks) == 1


@pytest.mark.parametrize("whole", [True, False])
def test_a_run_that_is_finished_takes_no_slot_unless_its_weights_are_gone(
    scheduler, tmp_path, capsys, monkeypatch, whole
):
    run = runs.Run(tmp_path / "a store" / recipe.compose().id)
    run.path.mkdir(parents=True)
    runs.write_json(run.path / "status.json", {"state": "finished"})
    monkeypatch.setattr(evaluate, "opens", lambda run: whole)
    assert ("finished already" in said(capsys, "train", "--on", "gpu")) == whole
    assert len(scheduler.tasks) == (not whole)


def test_data_that_are_not_here_are_told_before_a_node_looks_for_them(scheduler, capsys):
    assert "fetch MNIST" in said(capsys, "train", "--dataset", "MNIST", "--on", "gpu", code=1)
    assert not scheduler.tasks


def test_what_the_papers_tables_lack_goes_there_as_one(scheduler, tmp_path, capsys):
    assert "--missing" in said(capsys, "reproduce", "--on", "gpu", code=1)
    told = said(capsys, "reproduce", "--dataset", "digits", "--method", "cac", "--missing", "--on", "gpu")
    assert "15 trainings wait on gpu" in told
    assert len({task.ticket.rpartition("_")[0] for task in scheduler.tasks}) == 1  # one array
    every = launch.jobs(tmp_path / "a store")
    assert [job.ticket for job in every] == [task.ticket for task in scheduler.tasks]
    assert {(job.on, job.needs) for job in every} == {("gpu", Needs(memory=2048))}


def test_more_than_there_is_is_handed_over_with_a_word(scheduler, capsys):
    told = json.loads(said(capsys, "train", "--on", "gpu", "--cpus", "99", "--json"))
    assert "there are 4" in told["warnings"][0]


def test_a_wrong_file_of_clusters_hides_no_job(scheduler, tmp_path, capsys):
    launch.submit_there(tmp_path / "a store", [recipe.compose()], "gpu", Needs())
    scheduler.said = Seen("running", "n1")
    assert "gpu (n1)" in said(capsys, "queue")
    (tmp_path / "clusters.toml").write_text(FILE + "memmory = 1\n")
    main(["queue"])
    told = capsys.readouterr().out
    assert recipe.compose().id in told
    assert "memmory" in told


def test_reasons_of_several_lines_stay_with_their_job(scheduler, tmp_path, capsys):
    (job,) = launch.submit_there(tmp_path / "a store", [recipe.compose()], "gpu", Needs())
    scheduler.said = Seen("ended", "n1", "NonZeroExitCode", 1)
    job.beside(".log").write_text("error: MNIST is missing. Get it with:\n    python -m cac_core fetch MNIST\n")
    lines = said(capsys, "queue").splitlines()
    assert lines[0].endswith("MNIST is missing. Get it with:")
    assert lines[1] == "        python -m cac_core fetch MNIST"
