"""Very many images, judged by several jobs, on a cluster or by hand: each takes its part of them.

<folder>/part-3-of-16.parquet     the rows of a part, as `score` writes them; whoever reads the folder reads all rows
<folder>/_threshold.json          by what all of them judge, or _threshold.onnx, an exported file
An image is of the part that its path's digest says, whoever lists the images and whenever; so none has two rows.
"""

import dataclasses
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock

from cac_core import runs
from cac_core.data import images
from cac_core.jobs import clusters, launch
from cac_core.jobs.engines import Needs, Slots
from cac_core.jobs.queue import UNDER_WAY, Job
from cac_core.results import judge
from cac_core.results.judge import UNKNOWN, Threshold
from cac_core.runs import Run
from cac_core.sentences import say
from cac_core.serving import sources, written
from cac_core.serving.deciders import OfOnnx
from cac_core.serving.sources import Source

MOST = 1000  # parts: what Slurm takes as one array, where nobody has told it otherwise
USUAL = 64  # that are made at most where nobody says how many
MARK = re.compile(r"\.parts-(\d{1,4})")  # a file that says how many there are
SAID = re.compile(r"(\d{1,4})/(\d{1,4})")
WAIT = 25.0  # seconds that a cluster's answer is waited for


def part_of(said: str) -> tuple[int, int]:
    """Of "3/16" the number from 1 and how many there are. Raises ValueError."""
    found = SAID.fullmatch(said.strip())
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count <= MOST:
        raise ValueError(say(
            "{said!r} is no part: it is written as 3/16, the third of sixteen, of {most} at most.", said=said, most=MOST
        ))  # fmt: skip
    return number, count


def of_part(found: Iterable[Source], number: int, count: int) -> Iterator[Source]:
    """Those of a part, numbers from 1."""
    return (source for source in found if written.digest_of(source.name) % count == number - 1)


def file_of(folder: Path, number: int, count: int) -> Path:
    return folder / f"part-{number}-of-{count}.parquet"


@dataclasses.dataclass(frozen=True)
class Part:
    """One part: its file, its job where there is one, how many rows are safe, and why it was handed over again."""

    number: int
    file: Path
    job: Job | None
    rows: int
    before: str = ""

    @property
    def state(self) -> str:
        return "finished" if self.file.is_file() else self.job.state if self.job else "queued"


def handed_over(
    store: Path, run: Run | None, threshold: Threshold | None, named: list[str], folder: Path, given: list[str],
    on: str, needs: Needs, count: int | None = None, onnx: Path | None = None,
) -> list[Part]:  # fmt: skip
    """Hand to a cluster every part that has no file and is not under way there, and tell of all how far they are.

    run and threshold: None where onnx, an exported file, says it all. named: what is to be judged, as the
    command takes it. count: how many parts; None for as many as the folder has, or else as there is room for at once.
    Raises ValueError for what cannot be judged there, Unreachable where the cluster does not answer.
    """
    if sources.STANDARD_INPUT in named:
        raise ValueError(say("What stands on standard input cannot be seen on a cluster: name files, folders or zips."))
    named = [os.path.abspath(os.path.expanduser(one)) for one in named]
    if lacking := [one for one in named if not glob.has_magic(one) and not os.path.exists(one)]:
        raise ValueError(say("There is no file or folder {file}.", file=lacking[0]))
    if next(sources.found(named), None) is None:
        raise ValueError(say("There are no pictures in it: files that end in {endings}.", endings=images.ENDINGS))
    folder = folder.absolute()
    if folder.suffix in (".csv", ".jsonl") or folder.is_file():
        raise ValueError(say(
            "On a cluster --out is a folder, of Parquet files, one for each part; {folder} is none.", folder=folder
        ))  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    if run and threshold:
        given = [*given, "--threshold", str(_threshold_file(folder, run, threshold))]
    if onnx:
        given = [*given, "--onnx", str(_onnx_file(folder, onnx))]
    with filelock.FileLock(folder / ".lock", timeout=WAIT):
        return _handed_over(store, run, named, folder, given, on, needs, count)


def _handed_over(
    store: Path, run: Run | None, named: list[str], folder: Path, given: list[str], on: str, needs: Needs,
    count: int | None,
) -> list[Part]:  # fmt: skip
    count = _count(folder, count) or min(_room(on, needs), USUAL)
    files = {number: file_of(folder, number, count) for number in range(1, count + 1)}
    there = _jobs(store, folder)
    going = {file for file, job in there.items() if job.state in ("queued", *UNDER_WAY)}
    missing = {number: file for number, file in files.items() if file not in going and not file.is_file()}
    before = {file: there[file].reason for file in missing.values() if file in there}
    for old in [there[file] for file in before]:  # one that was killed says what it takes
        most = {name: max(getattr(needs, name), getattr(old.needs, name)) for name in ("memory", "minutes")}
        needs = dataclasses.replace(needs, **most)
        launch.remove(old)
    if missing:
        mark = folder / f".parts-{count}"  # which a further call finds before the first of them has begun
        first = not mark.exists()
        runs.write(mark, "")
        what = ["score", *([str(run.path.absolute())] if run else []), *named, "--runs", str(store.absolute()), *given]
        commands = [[*what, "--part", f"{number}/{count}", "--out", str(file)] for number, file in missing.items()]
        mine = run.id if run and run.path.parent.absolute() == store.absolute() else ""
        try:
            launch.hand_over(store, "score", commands, on, needs, run=mine)
        except (ValueError, OSError):
            if first:
                mark.unlink(missing_ok=True)
            raise
        there = _jobs(store, folder)
    return [
        Part(number, file, there.get(file), written.rows_in(file), before.get(file, ""))
        for number, file in files.items()
    ]


def summary(parts: list[Part]) -> Counter[str]:
    """Accepted, rejected and failed images in the parts that have ended."""
    import pyarrow.compute as pc
    from pyarrow import parquet

    told = Counter[str]()
    for part in parts:
        if part.file.is_file():
            table = parquet.read_table(part.file, columns=["decision", "error"])
            failed = pc.sum(pc.not_equal(table["error"], "")).as_py() or 0
            rejected = pc.sum(pc.equal(table["decision"], UNKNOWN)).as_py() or 0
            told += Counter(failed=failed, rejected=rejected, accepted=len(table) - failed - rejected)
    return told


def _threshold_file(folder: Path, run: Run, threshold: Threshold) -> Path:
    file = folder / "_threshold.json"
    if not file.exists():
        runs.write_json(file, threshold.record(run))
    elif judge.threshold_from(file, run).record(run) != threshold.record(run):
        raise ValueError(say("{folder} holds verdicts by another threshold. Name another folder.", folder=folder))
    return file


def _onnx_file(folder: Path, onnx: Path) -> Path:
    file, decider = folder / "_threshold.onnx", OfOnnx(onnx)
    if not file.exists():
        runs.in_one_step(file, lambda fresh: fresh.write(decider.content))
    elif written.whole(OfOnnx(file).about) != written.whole(decider.about):
        raise ValueError(say("{folder} holds verdicts by another threshold. Name another folder.", folder=folder))
    return file


def _count(folder: Path, asked: int | None) -> int:
    """How many parts this folder's images are divided into; 0 where it has none and nobody asks for some."""
    if asked is not None and not 1 <= asked <= MOST:
        raise ValueError(say("--parts is 1 to {most}.", most=MOST))
    there = [int(found[1]) for name in os.listdir(folder) if (found := MARK.fullmatch(name))]
    if there and asked not in (None, *there):
        raise ValueError(say(
            "{folder} is divided into {count} parts. Leave out --parts, or name another folder.",
            folder=folder, count=there[0],
        ))  # fmt: skip
    return there[0] if there else asked or 0


def _room(on: str, needs: Needs) -> int:
    """How many such jobs could run there now, 1 at least."""
    said = clusters.slots(on, wait=WAIT)
    if not isinstance(said, Slots):
        return 1
    return max(said.gpus[0] // needs.gpus if needs.gpus else said.cpus[0] // needs.cpus, 1)


def _jobs(store: Path, folder: Path) -> dict[Path, Job]:
    """The last job of each file in this folder."""
    found = {}
    for job in launch.settle(store, wait=WAIT):
        if job.kind == "score" and job.on and "--out" in job.arguments[:-1]:
            file = Path(job.arguments[job.arguments.index("--out") + 1])
            if file.parent == folder:
                found[file] = job
    return found
