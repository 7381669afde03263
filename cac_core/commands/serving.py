"""Commands that put a threshold to use: one image, or very many."""

import argparse
import contextlib
import dataclasses
import functools
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from cac_core import recipe as recipes
from cac_core.commands import jobs, terminal
from cac_core.sentences import say, together

MOST_WORKERS = 8  # that are taken where nobody says how many
TOLD = 10.0  # seconds between two lines of progress in a log
SHOWN = 1.0  # and between two times that it is told in a file
PORTS = 65_535


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    def by_what(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--scorer", help=terminal.SCORERS)
        parser.add_argument("--theta", type=float, help="reject above this score, instead of the run's own")
        parser.add_argument(
            "--threshold", metavar="FILE", help="score, options and theta of an exported threshold.json"
        )
        parser.add_argument(
            "--magnitude", type=float, default=0.0,
            help="ODIN: a step of this size to the predicted class, for scores by logits; theta is then taken from "
            "validation images that are moved, too",
        )  # fmt: skip
        parser.add_argument(
            "--odin-temperature", type=float, default=1.0,
            help="ODIN: the temperature of its gradient; the paper's score has it too, as --scorer msp --temperature T",
        )  # fmt: skip
        parser.add_argument(
            "--as", dest="way", choices=("picture", "drawing"),
            help="what the images are taken for: reduced whole, or what is drawn on them brought to size as digits and "
            "MNIST were, which is the default there",
        )  # fmt: skip
        parser.add_argument("--device", default="auto")

    predict = command("predict", "what a run says of images", _predict, options=True, epilog=terminal.SCORER_OPTIONS)
    predict.add_argument("run", metavar="RUN", help="a path or an id")
    predict.add_argument("images", metavar="IMAGE", nargs="+")
    by_what(predict)

    score = command("score", "verdicts on many images, one row each, into a file that can be gone on with", _score,
                    options=True, epilog=terminal.SCORER_OPTIONS)  # fmt: skip
    score.add_argument("run", metavar="RUN", help="a path or an id; with --onnx the first SOURCE")
    score.add_argument("--onnx", metavar="FILE", help="judge by this exported file, without its run and without torch")
    score.add_argument(
        "sources", metavar="SOURCE", nargs="*",
        help='a file, a folder and all below it, a zip, a pattern such as "photos/**/*.jpg", or - for paths on '
        "standard input",
    )  # fmt: skip
    score.add_argument(
        "--out", metavar="FILE", help=".parquet, .csv or .jsonl; what has a row there is not judged again"
    )
    score.add_argument("--keep", action="store_true", help="keep scores and decisions for the page Watch, too")
    score.add_argument("--gamma", action="store_true", help="γ of each known class, too")
    score.add_argument("--workers", type=int, metavar="N", help="processes, of one thread each; 0 for this one alone")
    score.add_argument("--batch", type=int, default=64, metavar="N", help="images that a process takes at once")
    jobs.on_cluster(score, "let several jobs do it on a cluster that")
    score.add_argument("--parts", type=int, metavar="N", help="how many jobs; else as many as have room")
    score.add_argument("--part", metavar="K/N", help="only the K-th of N parts, told by each image's path")
    by_what(score)

    export = command("export", "a run and its threshold as one ONNX file, for programs without this project", _export,
                     options=True, epilog=terminal.SCORER_OPTIONS)  # fmt: skip
    export.add_argument("run", metavar="RUN", help="a path or an id")
    export.add_argument(
        "--onnx", metavar="FILE", required=True, help="to be written, FILE.onnx; beside it FILE.prepare.py"
    )
    export.add_argument(
        "--resize", action="store_true", help="it takes photos of any size, and cuts and reduces them itself"
    )
    by_what(export)

    serve = command("serve", "verdicts over HTTP: a run, or an exported ONNX file, as a service", _serve, options=True,
                    epilog=terminal.SCORER_OPTIONS)  # fmt: skip
    serve.add_argument("run", metavar="RUN", nargs="?", help="a path or an id; not with --onnx")
    serve.add_argument("--onnx", metavar="FILE", help="judge by this exported file, without its run and without torch")
    serve.add_argument("--host", default="127.0.0.1", help="an address to listen at; other machines reach 0.0.0.0")
    serve.add_argument("--port", type=int, default=8600)
    serve.add_argument(
        "--token-file", metavar="FILE", help="whoever asks must send what this file holds, as Authorization: Bearer"
    )
    serve.add_argument("--keep", action="store_true", help="keep scores and decisions for the page Watch")
    serve.add_argument("--keep-pictures", action="store_true", help="and small pictures of what is rejected")
    by_what(serve)


def _threshold(run, root: Path, a: argparse.Namespace, options: dict[str, str]):
    """What the arguments say an image is judged by; names and numbers are checked before anything long begins."""
    from cac_core.results import judge, sweep
    from cac_core.scoring import scorers

    if a.threshold:
        if options or a.scorer or a.theta is not None or a.magnitude:
            raise ValueError(
                say("--threshold says everything: leave out --scorer, --theta, --magnitude and their options.")
            )
        threshold = judge.threshold_from(Path(a.threshold), run)
        return dataclasses.replace(threshold, way=a.way) if a.way else threshold
    judge.checked_theta(a.theta)
    name = a.scorer or judge.default_of(run)
    chosen = recipes.checked_options(name, scorers.scorer_options(name), options)
    if not run.written:
        from cac_core.results import evaluate

        evaluate.evaluate(run, root, device=a.device)
    return judge.threshold_of(
        run, name, chosen, a.theta, magnitude=a.magnitude, temperature=a.odin_temperature, way=a.way,
        moved=functools.partial(sweep.moved_validation, run, root, device=a.device),
    )  # fmt: skip


def _predict(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.results import judge, quality
    from cac_core.serving import deciders, score
    from cac_core.serving.sources import Source

    run = runs.find(a.run, runs.store_of(a.runs))
    threshold = _threshold(run, datasets.root_of(a.data), a, options)
    decider = deciders.OfRun(run.path, threshold, a.device)
    sources = [Source(image, image) for image in a.images]
    results = [{"image": row.pop("path"), **row} for row in score.rows(decider, sources, chunk=len(sources))]
    broken = [r for r in results if "error" in r]
    if len(broken) == len(results):
        raise ValueError(together([say("{file}: {error}", file=r["image"], error=r["error"]) for r in results], "; "))
    lines = list(map(_line, results))
    said = {"run": run.id, "scorer": threshold.scorer, "classes": run.known_names, "as": decider.way,
            "images": judge.plain(results)}  # fmt: skip
    if a.threshold and threshold.quality:
        said["quality"] = threshold.quality
        if (word := threshold.quality.get("word")) != quality.USABLE:
            lines.insert(0, f"this threshold's run, in a word: {word}; {threshold.quality.get('why')}")
    return said, lines, bool(broken)


def _line(row: dict[str, Any]) -> str:
    name = row.get("image") or row["path"]
    if "error" in row:
        return f"{name}: {row['error']}"
    score = "no number" if row["score"] is None else f"{row['score']:.4g}"
    return f"{name}: {row['decision']} (nearest {row['label']}, score {score}, theta {row['theta']:.4g})"


def _score(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.results import judge
    from cac_core.serving import deciders, parted, score, sources, watch, written

    if a.batch < 1 or (a.workers or 0) < 0:
        raise ValueError(say("--batch is at least 1, and --workers at least 0."))
    named, apart, run, away = a.sources, True, None, jobs.is_away(a)
    if a.onnx:
        _nothing_else(a, options)
        decider, named = deciders.OfOnnx(Path(a.onnx)), [a.run, *a.sources]
    else:
        from cac_core.networks.inputs import device_of

        run = runs.find(a.run, runs.store_of(a.runs))
        threshold, device = _threshold(run, datasets.root_of(a.data), a, options), device_of(a.device)
        decider, apart = deciders.OfRun(run.path, threshold, str(device)), device.type == "cpu"
    if not named:
        raise ValueError(say("Name what is to be judged: files, a folder, a zip, a pattern, or - for paths on standard "
                             "input."))  # fmt: skip
    if away:
        return _scored_there(a, run and (run, threshold), named)
    part = parted.part_of(a.part) if a.part else None
    listed = list(map(os.fsdecode, sys.stdin.buffer)) if sources.STANDARD_INPUT in named else []

    def found(over: Counter[str] | None = None) -> Iterator[sources.Source]:
        every = sources.found(named, listed, over)
        return parted.of_part(every, *part) if part else every

    def judged(some: Iterable[sources.Source], count: int) -> Iterator[dict[str, Any]]:
        workers = a.workers
        if workers is None:
            workers = min(_cores(), MOST_WORKERS) if count > a.batch else 0
        for row in score.rows(decider, some, workers=workers, chunk=a.batch, apart=apart):
            told.saw(row)
            yield judge.plain({name: value for name, value in row.items() if name in KEPT or (name, a.gamma) == GAMMA})

    said = decider.about
    keeper = watch.Keeper(runs.store_of(a.runs), said["run"], watch.version_in(said), "score") if a.keep else None
    over = Counter[str]()
    count = sum(1 for _ in found(over))
    if not a.out:
        told = _Told(count, 0, over, quiet=True, file=None)
        for row in judged(found(), count):
            terminal.tell(terminal.as_json(row) if a.json else terminal.printable(_line(row)))
            if keeper:
                keeper.keep(watch.of_rows([row]))
        print("\n".join(told.lines()), file=sys.stderr)
        return None, [], bool(told.failed)
    with written.opened(Path(a.out), decider.about, decider.names if a.gamma else None) as out:
        known = out.known()
        if keeper:
            out.follow = _Following(keeper, out)
        left = sum(1 for _ in written.unseen(found(), known)) if len(known) else count
        told = _Told(left, count - left, over, quiet=a.json, file=written.progress_of(Path(a.out)))
        try:
            for row in judged(written.unseen(found(), known), left):
                out.add(row)
        finally:
            told.file.unlink(missing_ok=True)
    result = {"run": decider.about["run"], "out": a.out, **told.summary()}
    # a job has done its part where its rows say what could not be read
    return result, [*told.lines(), f"written to {a.out}"], bool(told.failed and not part)


def _scored_there(a: argparse.Namespace, judged, named: list[str]):
    """What `score --on CLUSTER` does: nothing is judged here. judged: run and threshold, or None with --onnx."""
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.serving import parted, sources

    if a.part or a.keep or not a.out:
        raise ValueError(say(
            "On a cluster --out names a folder, and neither --part nor --keep can be given: every job has a part, and "
            "Watch keeps what one machine judges."
        ))  # fmt: skip
    needs = jobs.needs_in(a)
    workers = needs.cpus if a.workers is None else a.workers
    given = ["--batch", str(a.batch), "--workers", str(workers), "--device", a.device]
    given += ["--data", str(datasets.root_of(a.data).absolute())]
    given += ["--gamma"] * a.gamma
    run, threshold = judged or (None, None)
    parts = parted.handed_over(
        runs.store_of(a.runs), run, threshold, named, Path(a.out), given, a.on, needs, a.parts,
        Path(a.onnx) if a.onnx else None,
    )  # fmt: skip
    states = Counter(part.state for part in parts)
    rows = [{"part": part.number, "state": part.state, "rows": part.rows, "job": part.job.id if part.job else "",
             "reason": part.job.reason if part.job else "", "before": part.before,
             "file": str(part.file)} for part in parts]  # fmt: skip
    result = {"on": a.on, "out": a.out, "rows": sum(row["rows"] for row in rows), "parts": rows}
    lines = [f"{len(parts)} parts on {a.on}: " + ", ".join(f"{count} {state}" for state, count in states.items()),
             f"{result['rows']} rows are safe in {a.out}"]  # fmt: skip
    again = Counter(part.before for part in parts if part.before)
    lines += [f"{count} handed over again. {reason}" for reason, count in again.items()]
    lines += list(dict.fromkeys(row["reason"] for row in rows if row["reason"]))
    if set(states) == {"finished"}:
        result |= (told := parted.summary(parts))
        lines += [", ".join(f"{name} {told[name]}" for name in ("accepted", "rejected", "failed"))]
        over = Counter[str]()
        for _ in sources.found(named, over=over):
            pass
        result["passed_over"] = _ways_out(over)
        lines += _passed_over(over)
    else:
        lines += ["The same command again tells how far it is, and goes on with what was lost or stopped."]
    return result, lines


def _serve(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.serving import deciders, service, watch

    if not 0 <= a.port <= PORTS:
        raise ValueError(say("--port is 0 to {most}.", most=PORTS))
    token = _token(a.token_file)
    deciders.one_thread()
    if bool(a.run) == bool(a.onnx):
        raise ValueError(say("Name a run, or an exported file with --onnx: one of the two."))
    if a.onnx:
        _nothing_else(a, options)
        decider = deciders.OfOnnx(Path(a.onnx))
    else:
        run = runs.find(a.run, runs.store_of(a.runs))
        decider = deciders.OfRun(run.path, _threshold(run, datasets.root_of(a.data), a, options), a.device)
    keeper = None
    if a.keep or a.keep_pictures:
        said = decider.about
        keeper = watch.Keeper(runs.store_of(a.runs), said["run"], watch.version_in(said), "serve", a.keep_pictures)

    def listens(port: int) -> None:
        shown = f"[{a.host}]" if ":" in a.host else a.host
        print(f"{decider.about['run']} judges at http://{shown}:{port}/v1/judge", file=sys.stderr, flush=True)
        if a.host not in ("127.0.0.1", "localhost", "::1") and not token:
            print("Everybody who reaches this machine may use it: give --token-file.", file=sys.stderr, flush=True)

    service.serve(service.service(decider, token=token, keeper=keeper), a.host, a.port, listens=listens)
    return None, []


def _token(file: str | None) -> str | None:
    if file is None:
        return None
    token = Path(file).read_text("utf-8").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ValueError(say("{file} holds no token: a line of letters and digits.", file=file))
    return token


def _nothing_else(a: argparse.Namespace, options: dict[str, str]) -> None:
    if options or a.scorer or a.theta is not None or a.magnitude or a.threshold or a.way:
        raise ValueError(say("An ONNX file holds its score and theta: leave out --threshold, --scorer and the like."))


def _export(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.serving import deciders, to_onnx

    if a.magnitude:
        raise ValueError(deciders.PERTURBED)
    run, root = runs.find(a.run, runs.store_of(a.runs)), datasets.root_of(a.data)
    threshold = _threshold(run, root, a, options)
    checked = to_onnx.export(run, threshold, file := Path(a.onnx), root, a.resize)
    lines = [
        f"written to {file}, {checked['bytes'] / 1e6:.1f} MB; {file.with_suffix('.prepare.py')} prepares pictures",
        f"it decides as {run.id} does about {checked['images'] - checked['at_theta']} images ({checked['of']})"
        + f"; besides, at theta itself: {checked['at_theta']}" * bool(checked["at_theta"]),
    ]
    if photos := checked.get("photos"):
        lines.append(f"of {photos['images']} photos that it reduced itself, {photos['differ']} are decided otherwise, "
                     f"all at theta; scores move by {photos['scores_move']:.2g} at most")  # fmt: skip
    return {"run": run.id, "onnx": str(file), "scorer": threshold.scorer, "theta": threshold.theta, **checked}, lines


class _Following:
    """Keeps for Watch what an output holds, each row once, however often `score` is killed: first a row is safe in the
    output, then it is kept, together with how many of the output's rows have been."""

    def __init__(self, keeper, out):
        from cac_core.serving import watch

        self.keeper, self.out, self.count = keeper, out, keeper.taken(out.id)
        there = itertools.islice(out.rows_of("path", "error", *watch.SAID), self.count, None)
        while some := list(itertools.islice(there, 1000)):
            self(some)

    def __call__(self, rows: list[dict[str, Any]]) -> None:
        from cac_core.serving import watch

        self.count += len(rows)
        self.keeper.keep(watch.of_rows(rows), taken=(self.out.id, self.count))


KEPT = ("path", "decision", "label", "score", "theta", "notes", "error")
GAMMA = ("gamma", True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Told:
    """What has been judged so far, as a bar on a terminal and now and then as a line elsewhere, and at the end; in a
    file for whoever looks, as long as it goes on."""

    def __init__(self, count: int, there: int, over: Counter[str], quiet: bool, file: Path | None):
        self.count, self.there, self.over, self.quiet, self.file = count, there, over, quiet, file
        self.accepted: Counter[str] = Counter()
        self.done = self.rejected = self.failed = 0
        self.began = self.told = time.monotonic()
        self.bar = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=count, unit="image")

    def saw(self, row: dict[str, Any]) -> None:
        from cac_core.results.judge import UNKNOWN

        self.done += 1
        if "error" in row:
            self.failed += 1
        elif row["decision"] == UNKNOWN:
            self.rejected += 1
        else:
            self.accepted[row["label"]] += 1
        now = time.monotonic()
        if self.done == 1:
            # until then processes were started, which says nothing of what is left
            self.first = self.shown = self.told = now
        speed = max(self.done - 1, 1) / max(now - self.first, 1e-9)  # told when some time has passed since the first
        left = max(self.count - self.done, 0) / speed
        if self.file and now - self.shown > SHOWN:
            self.shown = now
            self._show(speed, left)
        if self.bar:
            self.bar.update()
        elif not self.quiet and now - self.told > TOLD:
            self.told = now
            print(f"{self.done} of {self.count}, {terminal.pace(speed)}, {terminal.span(left)} left", file=sys.stderr,
                  flush=True)  # fmt: skip

    def _show(self, speed: float, left: float) -> None:
        from cac_core import runs

        said = {"stage": "judging", "done": self.there + self.done, "of": self.there + self.count,
                "seconds_left": round(left), "per_second": round(speed, 1), **runs.process_now()}  # fmt: skip
        with contextlib.suppress(OSError):  # on a full disk the rows say so
            runs.write_json(self.file, said)

    def summary(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.began
        return {
            "judged": self.done, "there_before": self.there, "accepted": sum(self.accepted.values()),
            "by_class": dict(self.accepted.most_common()), "rejected": self.rejected, "failed": self.failed,
            "passed_over": _ways_out(self.over),
            "seconds": round(seconds, 3), "images_per_second": float(f"{self.done / max(seconds, 1e-9):.3g}"),
        }  # fmt: skip

    def lines(self) -> list[str]:
        if self.bar:
            self.bar.close()
        said = self.summary()
        each = ", ".join(f"{name} {count}" for name, count in said["by_class"].items())
        lines = [
            f"{self.done} image{'s' * (self.done != 1)} in {terminal.span(said['seconds'])}, "
            f"{terminal.pace(said['images_per_second'])}",
            f"accepted {said['accepted']}" + (f" ({each})" if each else ""),
            f"rejected {self.rejected}",
        ]
        lines += [f"failed   {self.failed}, and each row says why"] * bool(self.failed)
        lines += [f"{self.there} had a row before"] * bool(self.there)
        return lines + _passed_over(self.over)


def _ways_out(over: Counter[str]) -> dict[str, dict[str, Any]]:
    """By kind how many images were passed over, and what to do."""
    from cac_core.data import images

    return {kind: {"count": count, "way_out": images.way_out(kind)} for kind, count in over.most_common()}


def _passed_over(over: Counter[str]) -> list[str]:
    return [f"passed over {one['count']}: {one['way_out']}" for one in _ways_out(over).values()]
