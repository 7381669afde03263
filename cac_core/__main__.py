"""The command line.

python -m cac_core train --dataset digits --trial 0 --method cac --backbone small --epochs 20 --seed 0
python -m cac_core probe --dataset CIFAR10 --backbone plain
python -m cac_core eval RUN [--scorer gamma] [--centres means|anchors] [--theta X]
python -m cac_core predict RUN IMAGE...
python -m cac_core sweep RUN [--temperatures 1 10 1000] [--magnitudes 0 0.0014]
python -m cac_core map RUN [--neighbours 15] [--min-dist 0.1] [--seed 0]
python -m cac_core queue [--stop JOB | --resume JOB | --remove JOB | --priority JOB N]
python -m cac_core work
python -m cac_core runs
python -m cac_core table
python -m cac_core share RUN DIR
python -m cac_core data
python -m cac_core fetch MNIST
python -m cac_core import-weights FILE... [--dataset CIFAR10 --trial 0]

Every command takes --runs DIR, --data DIR and --json. Nothing heavy is imported before it is needed.
"""

import argparse
import contextlib
import json
import math
import sys
from pathlib import Path
from typing import Any

from cac_core import recipe as recipes


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    takes_options = arguments.command in {"train", "probe", "eval", "predict"}
    try:
        options = _options(rest) if takes_options else {}
        if rest and not takes_options:
            parser.error(f"{arguments.command} does not take {' '.join(rest)}")
        result, lines = COMMANDS[arguments.command](arguments, options)
    except (ValueError, OSError, RuntimeError) as error:
        message = _said(error)
        if arguments.json:
            print(json.dumps({"error": message}, ensure_ascii=False))
        print(f"error: {message}", file=sys.stderr)
        return 1
    try:
        if arguments.json and result is not None:
            print(json.dumps(result, ensure_ascii=False))
        elif lines:
            print("\n".join(lines))
    except BrokenPipeError:
        sys.stderr.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--runs", metavar="DIR", help="where runs are kept (ANCHORSCOPE_RUNS, or checkpoints/)")
    common.add_argument("--data", metavar="DIR", help="where data sets are (ANCHORSCOPE_DATA, or data/)")
    common.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser = argparse.ArgumentParser(
        prog="python -m cac_core",
        description="Open-set recognition with class anchors: train, evaluate, judge an image.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str, *parents: argparse.ArgumentParser, **more: Any) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=help, description=help, parents=[common, *parents], allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter, **more,
        )  # fmt: skip

    options = "\n".join(f"  {m:16} {_listed(recipes.method_options(m))}" for m in recipes.METHODS)
    trunks = "\n".join(
        f"  {b:16} {_listed(recipes.backbone_options(b))}"
        for b in ("small", "plain", "efficientnet-b0", "wide_resnet-40-2", "resnet18")
    )
    named = f"options of the methods, as --NAME VALUE:\n{options}\noptions of the backbones:\n{trunks}"
    flags = _recipe_flags()
    train = command("train", "train a recipe, or go on with it where its run was left", flags, epilog=named)
    train.add_argument("--resume", metavar="RUN", help="go on with this run, whatever its recipe")
    train.add_argument("--compile", action="store_true", help="compile the network first (worth it for long runs)")
    train.add_argument("--mlflow", action="store_true", help="copy the finished run into MLflow, if that is installed")
    train.add_argument("--tensorboard", action="store_true", help="write TensorBoard files into the run")

    measure = command(
        "probe", "what a recipe takes here: time, memory, disk, by a few steps of it", flags, epilog=named
    )
    measure.add_argument("--again", action="store_true", help="measure also what has been measured before")

    names = "gamma, distance, msp, max_logit, energy, knn, mahalanobis or openmax"
    scorers = (
        "options of the scorers, as --NAME VALUE:\n  centres means|anchors (gamma, distance), temperature (gamma, msp, "
        "energy),\n  k (knn), tail, alpha, metric euclidean|eucos (openmax), tolerance (mahalanobis)"
    )
    evaluate = command("eval", "all numbers of a run on its test images", epilog=scorers)
    evaluate.add_argument("run", metavar="RUN", help="a path or an id")
    evaluate.add_argument("--scorer", help=names)
    evaluate.add_argument("--theta", type=float, help="reject above this score, instead of the default")
    evaluate.add_argument("--unknown", metavar="NAME", help="take this data set's test images as the unknowns")
    for name in ("dataset", "family", "trial"):
        evaluate.add_argument(f"--{name}", help=argparse.SUPPRESS)  # only to say why not
    evaluate.add_argument("--device", default="auto")
    evaluate.add_argument("--again", action="store_true", help="write the outputs anew")

    predict = command("predict", "what a run says of images", epilog=scorers)
    predict.add_argument("run", metavar="RUN", help="a path or an id")
    predict.add_argument("images", metavar="IMAGE", nargs="+")
    predict.add_argument("--scorer", help=names)
    predict.add_argument("--theta", type=float, help="reject above this score, instead of the run's own")
    predict.add_argument("--threshold", metavar="FILE", help="score, options and theta of an exported threshold.json")
    predict.add_argument(
        "--magnitude", type=float, default=0.0, help="ODIN: a step of this size to the predicted class"
    )
    predict.add_argument("--odin-temperature", type=float, default=1.0, help="ODIN: the temperature of its gradient")
    predict.add_argument("--device", default="auto")

    weights = command("import-weights", "make runs of the weights published with the CAC paper")
    weights.add_argument("files", metavar="FILE", nargs="+", help="a .pth file of cac-openset, or a folder of them")
    weights.add_argument("--dataset", help="if the file's name does not say it")
    weights.add_argument("--trial", help="if the file's name does not say it")
    weights.add_argument("--family", default="cac-2020", help="the class lists that they were trained on: cac-2020")

    sweep = command("sweep", "ODIN: every score at each temperature and magnitude of a perturbation")
    sweep.add_argument("run", metavar="RUN", help="a path or an id")
    sweep.add_argument("--temperatures", type=float, nargs="+", metavar="T", help="0.5 1 2 5 10 100 1000, if not said")
    sweep.add_argument("--magnitudes", type=float, nargs="+", metavar="E", help="on the scale 0 to 1 of a pixel")
    sweep.add_argument(
        "--as-published", action="store_true", help="as a published listing does it, with the TRUE labels: a leak"
    )
    sweep.add_argument("--device", default="auto")

    umap = command("map", "a UMAP of a run's logits, kept with the run")
    umap.add_argument("run", metavar="RUN", help="a path or an id")
    umap.add_argument("--neighbours", type=int, default=15)
    umap.add_argument("--min-dist", type=float, default=0.1)
    umap.add_argument("--seed", type=int, default=0)
    umap.add_argument("--most", type=int, default=10_000, help="at most so many images, an even sample")
    umap.add_argument("--dense", action="store_true", help="keep densities (densMAP)")

    queue = command("queue", "the jobs that wait, run and have ended")
    act = queue.add_mutually_exclusive_group()
    act.add_argument("--stop", metavar="JOB")
    act.add_argument("--resume", metavar="JOB", help="put it back into the queue")
    act.add_argument("--remove", metavar="JOB", help="forget it; its run stays")
    act.add_argument("--priority", nargs=2, metavar=("JOB", "N"), help="higher comes first")
    work = command("work", "start what is queued, one job a device, until told to stop")
    work.add_argument("--once", action="store_true", help="end when nothing is left to do")
    work.add_argument("--idle", type=float, default=math.inf, metavar="SECONDS", help="end after so long without a job")

    command("runs", "the runs there are")
    command("table", "what the runs measured beside what has been published, as Markdown")
    share = command("share", "a small copy of a run, to give away: no features, no images")
    share.add_argument("run", metavar="RUN", help="a path or an id")
    share.add_argument("into", metavar="DIR", help="the store to put the copy into")
    command("data", "the data sets there are: here or not, where they come from, their licences")
    fetch = command("fetch", "download a data set")
    fetch.add_argument("dataset")
    return parser


def _recipe_flags() -> argparse.ArgumentParser:
    """What says a recipe, for train and probe alike."""
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument("--recipe", metavar="FILE", help="the recipe as JSON, whole, instead of the options below")
    flags.add_argument("--dataset", help="a data set, or the name of an image folder under the data root")
    flags.add_argument("--family", help="whose class lists: osrci or cac-2020")
    flags.add_argument("--trial", help='0 to 4, or a file {"Known": [...], "Unknown": [...]}')
    flags.add_argument("--method", help=", ".join(recipes.METHODS))
    flags.add_argument("--backbone", help=", ".join(recipes.BACKBONES))
    flags.add_argument(
        "--preset", default="quick", help=f"{', '.join(recipes.PRESETS)}; quick (default) is short, paper as published"
    )
    flags.add_argument("--epochs", type=int)
    flags.add_argument("--fine-epochs", type=int, help="more epochs at a tenth of the rate, from the best checkpoint")
    flags.add_argument("--schedule", help="onecycle or constant")
    flags.add_argument("--batch", type=int)
    flags.add_argument("--lr", type=float, help="learning rate: the peak of a cycle, or the constant")
    flags.add_argument("--momentum", type=float)
    flags.add_argument("--decay", type=float, help="weight decay")
    flags.add_argument("--trunk-rate", type=float, help="times the learning rate, for the backbone alone")
    flags.add_argument("--size", type=int, help="image side in pixels, if not the data set's own")
    flags.add_argument("--seed", type=int)
    flags.add_argument("--precision", help="auto, float32 or bfloat16")
    flags.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return flags


def _train(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.exchange import to_mlflow

    if a.mlflow:
        to_mlflow.check()  # before hours of training
    store, root = runs.store_of(a.runs), datasets.root_of(a.data)
    if a.resume:
        recipe = (run := runs.find(a.resume, store)).recipe
        store = run.path.parent
    else:
        recipe = _recipe(a, options, root)
        # a wrong name is told before torch loads
        datasets.trial_of(recipe, datasets.row_of(recipe.dataset, root, recipe.size))
    from cac_core.training import loop

    shown = _Progress(store / recipe.id, recipe.id, quiet=a.json)
    run = loop.train(recipe, store, root, device=a.device, compiled=a.compile, tensorboard=a.tensorboard, say=shown)
    shown.close()
    if loop.distributed.rank():  # of several processes under torchrun the first one tells
        return None, []
    status, report = run.status, run.report()
    result = {"run": run.id, "path": str(run.path), "state": status["state"], "epochs": len(run.epochs())}
    lines = [f"{run.path}: {status['state']}" + (f" ({status['reason']})" if status.get("reason") else "")]
    if status["state"] == "finished" and a.mlflow:
        result["mlflow"] = to_mlflow.export(run)
    if status["state"] == "finished":
        numbers = report["scorers"][report["default"]]
        result["report"] = numbers
        lines += _report_lines(numbers)
    return result, lines


def _probe(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.training import probe

    store, root = runs.store_of(a.runs), datasets.root_of(a.data)
    recipe = _recipe(a, options, root)
    took = probe.measure(recipe, store, root, device=a.device, again=a.again)
    result = {"recipe": recipe.id, "device": took.device, "step": took.step, "epoch": took.epoch(),
              "seconds": took.seconds(recipe), "memory": took.memory, "disk": took.disk(recipe),
              "beside": took.beside}  # fmt: skip
    epochs = recipe.epochs + recipe.fine_epochs
    lines = [
        f"a training step     {took.step:.2g} s: a batch of {recipe.batch} on {took.device}",
        f"an epoch            {_span(took.epoch()) if took.epoch() > 10 else f'{took.epoch():.2g} s'}",
        f"the whole run       {_span(result['seconds'])}: {epochs} epochs and the evaluation",
        f"memory              {took.memory / 1e6:.0f} MB" + (f" of {took.room / 1e6:.0f} MB" if took.room else ""),
        f"disk                {result['disk'] / 1e6:.1f} MB",
    ]
    return result, lines + ["Other work was under way here, so it will take less than that."] * took.beside


def _recipe(a: argparse.Namespace, options: dict[str, str], root: Path) -> recipes.Recipe:
    if a.recipe:
        try:
            return recipes.Recipe.from_json(json.loads(Path(a.recipe).read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise ValueError(f"{a.recipe} holds no recipe that can be read ({error}).") from error
    fields = ("dataset", "family", "trial", "method", "backbone", "epochs", "fine_epochs", "schedule", "batch", "lr",
              "momentum", "decay", "size", "trunk_rate", "seed", "precision")  # fmt: skip
    given = {name: getattr(a, name) for name in fields}
    if a.trial and a.trial.endswith(".json"):
        from cac_core.data import datasets

        dataset = a.dataset or recipes.DEFAULT.dataset
        trial = datasets.trial_from_file(Path(a.trial), dataset, datasets.row_of(dataset, root, a.size or 0))
        given |= {"family": "custom", "trial": trial.index, "known": trial.known, "unknown": trial.unknown}
    return recipes.compose(a.preset, options, **given)


class _Progress:
    """Events as a progress bar on a terminal, as lines in a file; always as lines in the run's log.txt."""

    def __init__(self, path: Path, name: str, quiet: bool):
        self.log, self.name, self.quiet = path / "log.txt", name, quiet
        self.bar, self.done = None, 0

    def __call__(self, event: dict[str, Any]) -> None:
        if event["kind"] == "epoch":
            line = (
                f"epoch {event['epoch']}/{event['epochs']}  loss {event['train']['total']:.4f}  "
                f"validation {event['validation']['total']:.4f}  accuracy {event['validation']['accuracy']:.4f}  "
                f"{event['images_per_second']:.0f} images/s  {_span(event['seconds_left'])} left"
            )
        elif event["kind"] == "progress":
            part = f"epoch {event['epoch']}/{event['epochs']}  batch {event['step']}/{event['steps']}"
            line = f"{part}  {event['images_per_second']:.0f} images/s  {_span(event['seconds_left'])} left"
        else:
            return
        with contextlib.suppress(OSError), open(self.log, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self.quiet:
            return
        if not sys.stderr.isatty():
            print(line, file=sys.stderr, flush=True)
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=event["epochs"], desc=self.name, unit="epoch")
        self.bar.set_postfix_str(line.split("  ", 1)[1])
        if event["kind"] == "epoch":
            self.bar.n = event["epoch"]
            self.bar.refresh()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _eval(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.results import judge

    run, root = runs.find(a.run, runs.store_of(a.runs)), datasets.root_of(a.data)
    judge.check_split(run, dataset=a.dataset, family=a.family, trial=a.trial)
    scorer = _scorer(run, a, options)
    if a.again or not run.written:
        from cac_core.results import evaluate

        evaluate.evaluate(run, root, device=a.device, again=a.again, progress=None if a.json else _bar())
    if a.unknown and not (run.path / "outputs" / f"{runs.unknown_split(a.unknown)}.npz").exists():
        from cac_core.results import evaluate

        evaluate.evaluate_unknown(run, a.unknown, root, device=a.device, progress=None if a.json else _bar())
    numbers = judge.plain(judge.report(run, scorer, a.theta, a.unknown, **options))
    return numbers, _report_lines(numbers)


def _predict(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets, images
    from cac_core.results import judge
    from cac_core.scoring.distances import moved_by

    run, root = runs.find(a.run, runs.store_of(a.runs)), datasets.root_of(a.data)
    if a.threshold:
        if options or a.scorer or a.theta is not None or a.magnitude:
            raise ValueError("--threshold says everything: leave out --scorer, --theta, --magnitude and their options.")
        threshold = judge.threshold_from(Path(a.threshold), run)
        a.scorer, a.theta, options = threshold.scorer, threshold.theta, dict(threshold.options)
        a.magnitude, a.odin_temperature = threshold.magnitude, threshold.temperature
    scorer = _scorer(run, a, options)
    row, names = run.row, run.known_names
    prepared, broken = [], {}
    for image in a.images:
        try:
            prepared.append((image, images.prepare(image, row)))
        except ValueError as error:
            broken[image] = str(error)
        except OSError as error:
            broken[image] = error.strerror or str(error)
    judged = {}
    if prepared:
        import numpy as np

        from cac_core.results import evaluate

        network = evaluate.load(run, a.device)
        if not run.written:
            evaluate.evaluate(run, root, device=a.device)
        pixels = np.stack([p.pixels for _, p in prepared])
        logits, features = network.outputs(
            pixels,
            magnitude=a.magnitude,
            temperature=a.odin_temperature,
            centres=moved_by(run.outputs("train")),
        )
        if a.threshold:
            verdicts = threshold.judged(run, logits, features)
        else:
            verdicts = judge.said_of(run, logits, features, scorer, a.theta, **options)
        judged = {image: {**v, "notes": list(p.notes)} for (image, p), v in zip(prepared, verdicts, strict=True)}
    results = [
        {"image": image, **(judged[image] if image in judged else {"error": broken[image]})} for image in a.images
    ]
    if not judged:
        raise ValueError("; ".join(f"{r['image']}: {r['error']}" for r in results))
    lines = [
        f"{r['image']}: {r['error']}" if "error" in r
        else f"{r['image']}: {r['decision']} (nearest {r['label']}, score {r['score']:.4g}, theta {r['theta']:.4g})"
        for r in results
    ]  # fmt: skip
    return {"run": run.id, "scorer": scorer, "classes": names, "images": judge.plain(results)}, lines


def _scorer(run, a: argparse.Namespace, options: dict[str, str]) -> str:
    """The scorer's name; names and options are checked before anything long begins."""
    from cac_core.scoring import scorers

    name = a.scorer or scorers.default_for(run.recipe.method)
    options |= recipes.checked_options(name, scorers.scorer_options(name), options)
    return name


def _runs(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs

    rows = []
    for run in runs.every(runs.store_of(a.runs)):
        if problem := run.problem():
            rows.append({"run": run.id, "state": "broken", "reason": problem})
            continue
        recipe, report = run.recipe, run.report()
        numbers = report.get("scorers", {}).get(report.get("default"), {})
        rows.append({
            "run": run.id, "state": run.state, "dataset": recipe.dataset, "family": recipe.family,
            "trial": recipe.trial, "method": recipe.method, "backbone": recipe.backbone, "seed": recipe.seed,
            "epochs": len(run.epochs()), "of": recipe.epochs + recipe.fine_epochs,
            "accuracy": numbers.get("accuracy"), "auroc": numbers.get("auroc"),
        })  # fmt: skip
    lines = [f"{'run':44} {'state':9} {'epochs':>8} {'accuracy':>9} {'AUROC':>7}"] if rows else []
    for r in rows:
        if r["state"] == "broken":
            lines.append(f"{r['run']:44} broken: {r['reason']}")
        else:
            share = [f"{r[k]:.4f}" if r[k] is not None else "" for k in ("accuracy", "auroc")]
            epochs = f"{r['epochs']}/{r['of']}"
            lines.append(f"{r['run']:44} {r['state']:9} {epochs:>8} {share[0]:>9} {share[1]:>7}")
    none = f"No runs in {runs.store_of(a.runs)} yet. Train one with:\n    python -m cac_core train --dataset digits"
    return {"runs": rows}, lines or [none]


def _sweep(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.results import evaluate, sweep

    run, root = runs.find(a.run, runs.store_of(a.runs)), datasets.root_of(a.data)
    if not run.written:
        evaluate.evaluate(run, root, device=a.device, progress=None if a.json else _bar())
    axes = {"temperatures": a.temperatures, "magnitudes": a.magnitudes}
    axes = {name: tuple(values) for name, values in axes.items() if values}
    result = sweep.sweep(
        run, root, **axes, as_published=a.as_published, device=a.device, progress=None if a.json else _bar()
    )
    score = "distance" if a.as_published else "gamma"
    lines = [result["leak"]] if a.as_published else []
    lines += [f"AUROC of {score}; rows: temperature, columns: magnitude", " " * 8 + "".join(
        f"{e:>9g}" for e in result["magnitudes"])]  # fmt: skip
    for temperature in result["temperatures"]:
        row = [c["scores"][score]["auroc"] for c in result["cells"] if c["temperature"] == temperature]
        lines.append(f"{temperature:8g}" + "".join(f"{'-' if v is None else format(v, '9.4f'):>9}" for v in row))
    for name, how in {
        "chosen": "without any unknown",
        "oracle": "looking at the test unknowns, for study only",
    }.items():
        if cell := result.get(name, {}).get(score):
            lines.append(
                f"{name} ({how}): T {cell['temperature']:g}, magnitude {cell['magnitude']:g}, "
                + ("no unknowns to test on" if cell["auroc"] is None else f"AUROC {cell['auroc']:.4f}")
            )
    return result, lines


def _map(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.results import project

    run = runs.find(a.run, runs.store_of(a.runs))
    how = {"neighbours": a.neighbours, "min_dist": a.min_dist, "seed": a.seed, "dense": a.dense, "most": a.most}
    file = project.umap_map(run, **how, progress=None if a.json else _bar())
    made = next(one for one in project.maps(run) if one.path == file)
    result = {"run": run.id, "path": str(file), "images": len(made.xy), "of": made.images, **made.parameters,
              "trustworthiness": made.trustworthiness, "same_class": made.same_class}  # fmt: skip
    return result, [f"{file}: {len(made.xy)} of {made.images} images, trustworthiness {made.trustworthiness:.3f}"]


def _queue(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.jobs import launch

    store = runs.store_of(a.runs)
    for name, act in {"stop": launch.stop, "resume": launch.resume, "remove": launch.remove}.items():
        if asked := getattr(a, name):
            act(launch.find(store, asked))
    if a.priority:
        number = recipes.checked_options("a job", {"priority": 0}, {"priority": a.priority[1]})["priority"]
        launch.reorder(launch.find(store, a.priority[0]), number)
    rows = [
        {"job": job.id, "kind": job.kind, "run": job.run, "device": job.device, "priority": job.priority,
         "state": job.state, "reason": job.reason}
        for job in launch.settle(store)
    ]  # fmt: skip
    lines = [
        f"{r['job']:16} {r['kind']:6} {r['state']:9} {r['device']:7} {r['run']}  {r['reason']}".rstrip() for r in rows
    ]
    at_work = launch.has_worker(store)
    if any(r["state"] == "queued" for r in rows) and not at_work:
        lines.append(f"No worker is at work. Start one with:\n    python -m cac_core work --runs {store}")
    return {"worker": at_work, "jobs": rows}, lines or [f"No jobs in {store}."]


def _work(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.jobs import launch

    launch.work(runs.store_of(a.runs), once=a.once, idle=a.idle)
    return {}, []


def _import_weights(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.exchange import import_weights

    store, root = runs.store_of(a.runs), datasets.root_of(a.data)
    files = [file for path in a.files for file in import_weights.found(Path(path))]
    made = [
        import_weights.import_weights(file, store, root, dataset=a.dataset, trial=a.trial, family=a.family)
        for file in files
    ]
    lines = [f"{run.path}: imported. Evaluate it with:\n    python -m cac_core eval {run.path}" for run in made]
    return {"runs": [{"run": run.id, "path": str(run.path)} for run in made]}, lines


def _table(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.results import table

    rows = table.rows(runs.store_of(a.runs))
    return {"rows": rows}, table.lines(rows)


def _share(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.exchange import share

    copy = share.share(runs.find(a.run, runs.store_of(a.runs)), Path(a.into))
    size = sum(file.stat().st_size for file in copy.path.rglob("*") if file.is_file())
    return {"run": copy.id, "path": str(copy.path), "bytes": size}, [f"{copy.path}: {size / 1e6:.1f} MB"]


def _data(a: argparse.Namespace, options: dict[str, str]):
    from cac_core.data import datasets, sources

    root = datasets.root_of(a.data)
    rows, lines = [], [f"under {root}:"]
    for name in (*datasets.DATASETS, *datasets.folders(root)):
        about, licence = sources.ABOUT.get(name, ("an image folder of your own", "yours"))
        files, missing = datasets.here(name, root)
        rows.append({"dataset": name, "here": not missing, "bytes": sum(f.stat().st_size for f in files),
                     "missing": missing, "source": about, "licence": licence})  # fmt: skip
        size = f"{rows[-1]['bytes'] / 1e6:.1f} MB" if files else "not here"
        lines.append(f"{name:14} {size:>10}   {about}. Licence: {licence}.")
        if missing:
            lines += ["    " + line.strip() for line in missing.splitlines()]
    return {"data": str(root), "datasets": rows}, lines


def _fetch(a: argparse.Namespace, options: dict[str, str]):
    from cac_core.data import datasets

    root = datasets.root_of(a.data)
    datasets.fetch(a.dataset, root)
    sizes = {part: len(images) for part, images in datasets.load(a.dataset, root).items()}
    return {"dataset": a.dataset, "data": str(root), "images": sizes}, [f"{a.dataset} is here: {sizes}"]


COMMANDS = {
    "train": _train,
    "probe": _probe,
    "eval": _eval,
    "predict": _predict,
    "sweep": _sweep,
    "map": _map,
    "queue": _queue,
    "work": _work,
    "import-weights": _import_weights,
    "runs": _runs,
    "table": _table,
    "share": _share,
    "data": _data,
    "fetch": _fetch,
}


def _report_lines(numbers: dict[str, Any]) -> list[str]:
    def share(value: float | None, interval=None) -> str:
        if value is None:
            return "-"
        return f"{value:.4f}" + (f"   95 % interval {interval[0]:.4f} to {interval[1]:.4f}" if interval else "")

    sure = numbers["intervals"]
    said = [("scorer", numbers["scorer"]), ("test images", f"{numbers['knowns']} known, {numbers['unknowns']} unknown")]
    plain = ("accuracy", "auroc", "aupr_known", "aupr_unknown", "fpr_at_95_knowns_kept", "fpr_at_95_unknowns_caught",
             "oscr")  # fmt: skip
    said += [(name, share(numbers[name], sure.get(name))) for name in plain]
    said += [("theta", f"{numbers['theta']:.4g}   {numbers['theta_rule']}")]
    said += [(name, share(value, sure.get(name))) for name, value in numbers["at_theta"].items()]
    return [f"{name:26} {value}" for name, value in said]


def _options(rest: list[str]) -> dict[str, str]:
    """--name value pairs that no command knows by itself: options of a method, a backbone or a scorer."""
    options = {}
    while rest:
        name, rest = rest[0], rest[1:]
        if not name.startswith("--") or len(name) < 3:
            raise ValueError(f"{name!r} was not expected here. An option is written --name value.")
        name, equals, value = name[2:].partition("=")
        if not equals:
            if not rest:
                raise ValueError(f"--{name} needs a value.")
            value, rest = rest[0], rest[1:]
        options[name.replace("-", "_")] = value
    return options


def _bar():
    bars = {}

    def progress(split: str, done: int, of: int) -> None:
        from tqdm import tqdm

        if not sys.stderr.isatty():
            return
        if split not in bars:
            bars[split] = tqdm(total=of, desc=split, unit="image")
        bars[split].n = done
        bars[split].refresh()
        if done == of:
            bars[split].close()

    return progress


def _listed(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "none"


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: {error.filename}. Is there a disk that can be written, and space on it?"
    return str(error)


def _span(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {seconds} s"
        if minutes
        else f"{seconds} s"
    )


if __name__ == "__main__":
    sys.exit(main())
