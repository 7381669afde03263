"""eval, sweep, map, runs and table: what the networks of runs say."""

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any

from cac_core import recipe as recipes
from cac_core import shell
from cac_core.commands import jobs, terminal
from cac_core.sentences import say


def add(command) -> None:
    evaluate = command(
        "eval", "all numbers of a run on its test images", _eval, options=True, epilog=terminal.SCORER_OPTIONS
    )
    evaluate.add_argument("run", metavar="RUN", help="a path or an id")
    evaluate.add_argument("--scorer", help=terminal.SCORERS)
    evaluate.add_argument("--theta", type=float, help="reject above this score, instead of the default")
    evaluate.add_argument("--unknown", metavar="NAME", help="take this data set's test images as the unknowns")
    for name in ("dataset", "family", "trial"):
        evaluate.add_argument(f"--{name}", help=argparse.SUPPRESS)  # only to say why not
    evaluate.add_argument("--device", default="auto")
    evaluate.add_argument("--again", action="store_true", help="write the outputs anew")

    ensemble = command("ensemble", "several runs of one trial as one run", _ensemble)
    ensemble.add_argument("parts", metavar="RUN", nargs="+", help="paths or ids of finished runs")
    ensemble.add_argument("--mean", default="softmax", help="softmax (default), or distances, of runs by CAC alone")

    judged = command("judge", "verdicts on new outputs of a network, by a threshold; no network is needed", _judge)
    judged.add_argument("run", metavar="RUN", help="a path or an id")
    judged.add_argument("files", metavar="FILE", nargs="+", help="an .npz, Parquet or CSV with logits, as imported")
    judged.add_argument("--threshold", metavar="FILE", required=True, help="an exported threshold.json")
    judged.add_argument("--out", metavar="FILE", help="write the verdicts into this .csv instead")

    sweep = command("sweep", "ODIN: every score at each temperature and magnitude of a perturbation", _sweep)
    sweep.add_argument("run", metavar="RUN", help="a path or an id")
    sweep.add_argument("--temperatures", type=float, nargs="+", metavar="T", help="0.5 1 2 5 10 100 1000, if not said")
    sweep.add_argument("--magnitudes", type=float, nargs="+", metavar="E", help="on the scale 0 to 1 of a pixel")
    sweep.add_argument(
        "--most", type=int, metavar="N", help="choose by so many validation images at most, 2000 if not said; each "
        "costs a perturbation for every known class"
    )  # fmt: skip
    sweep.add_argument(
        "--as-published", action="store_true", help="as a published listing does it, with the TRUE labels: a leak"
    )
    sweep.add_argument("--device", default="auto")

    umap = command("map", "a UMAP of a run's logits, kept with the run", _map)
    umap.add_argument("run", metavar="RUN", help="a path or an id")
    umap.add_argument("--neighbours", type=int, default=15)
    umap.add_argument("--min-dist", type=float, default=0.1)
    umap.add_argument("--seed", type=int, default=0)
    umap.add_argument("--most", type=int, default=10_000, help="at most so many images, an even sample")
    umap.add_argument("--dense", action="store_true", help="keep densities (densMAP)")
    command("runs", "the runs there are", _runs)
    command("table", "what the runs measured beside what has been published, as Markdown", _table)
    again = command(
        "reproduce", "the papers' tables: each cell measured and published, and what is missing", _reproduce
    )
    again.add_argument("--dataset", help="of this data set alone")
    again.add_argument("--method", help="by this method alone")
    again.add_argument("--own", action="store_true", help="without the project's own runs, which come with it")
    again.add_argument("--missing", action="store_true", help="put the trainings that are missing into the queue")
    again.add_argument("--device", default="cpu", help="of the queue, with --missing: cpu, cuda:0 and so on")
    jobs.on_cluster(again, "with --missing, hand them as one array to a cluster that")


def _eval(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.results import judge, quality

    run, root = runs.find(a.run, runs.store_of(a.runs)), datasets.root_of(a.data)
    judge.check_split(run, dataset=a.dataset, family=a.family, trial=a.trial)
    with contextlib.suppress(*[runs.Broken] * a.again):  # a damaged report is about to be written again
        _scorer(run, a, options)  # a wrong one is told before anything long begins
    if a.again or not run.written:
        from cac_core.results import evaluate

        evaluate.evaluate(run, root, device=a.device, again=a.again, progress=None if a.json else terminal.bar())
    elif not run.report():
        from cac_core.results import evaluate

        evaluate.write_report(run, root, a.device)
    scorer = _scorer(run, a, options)
    # a copy without weights keeps the outputs that came with it
    new = a.unknown and not (run.path / "outputs" / f"{run.unknown_split(a.unknown)}.npz").exists()
    if new or (a.unknown and (run.path / "best.safetensors").exists()):
        from cac_core.results import evaluate

        told = None if a.json else terminal.bar()
        evaluate.evaluate_unknown(run, a.unknown, root, device=a.device, again=a.again, progress=told)
    numbers = judge.plain(judge.report(run, scorer, a.theta, a.unknown, **options))
    numbers["quality"] = quality.of_report(numbers, run).record()
    return numbers, terminal.report_lines(numbers)


def reported(run, a: argparse.Namespace) -> dict[str, Any]:
    """The numbers of an evaluated run by its own score, and what they are worth. A report that is missing is written
    first."""
    from cac_core.data import datasets
    from cac_core.results import quality

    if not run.report():
        from cac_core.results import evaluate

        evaluate.write_report(run, datasets.root_of(a.data))
    report = run.report()
    numbers = report["scorers"][report["default"]]
    return numbers | {"quality": quality.of_report(numbers, run).record()}


def _ensemble(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.results import ensemble

    store = runs.store_of(a.runs)
    run, new = ensemble.make([runs.find(name, store) for name in a.parts], store, a.mean)
    numbers, cost = reported(run, a), ensemble.cost(run)
    lines = [
        f"{run.path}: {'made' if new else 'is there already'}",
        f"an image goes through {cost['networks']} networks, {cost['passes']} times in all; "
        f"{cost['parameters'] / 1e6:.1f} million parameters",
        *terminal.report_lines(numbers),
    ]
    return {"run": run.id, "path": str(run.path), "new": new, "cost": cost, "report": numbers}, lines


def _judge(a: argparse.Namespace, options: dict[str, str]):
    import csv

    from cac_core import runs
    from cac_core.exchange import import_outputs
    from cac_core.results import judge, quality
    from cac_core.scoring import metrics

    run = runs.find(a.run, runs.store_of(a.runs))
    threshold = judge.threshold_from(Path(a.threshold), run)
    out = import_outputs.new_outputs(import_outputs.read([Path(file) for file in a.files]), run)
    verdict, theta = threshold.decided(run, out)
    names, rejected = run.known_names, metrics.rejected(verdict.score, theta)
    rows = [
        {"image": n, "decision": judge.UNKNOWN if no else names[label], "label": names[label], "score": score,
         "theta": limit}
        for n, (label, score, limit, no) in enumerate(
            zip(verdict.label.tolist(), verdict.score.tolist(), theta.tolist(), rejected.tolist(), strict=True)
        )
    ]  # fmt: skip
    lines = [f"{sum(rejected)} of {len(rows)} are unknown by {threshold.scorer}"]
    if threshold.quality and (word := threshold.quality.get("word")) != quality.USABLE:
        lines.insert(0, f"this threshold's run, in a word: {word}; {threshold.quality.get('why')}")
    said = {"run": run.id, "scorer": threshold.scorer, "classes": names, "unknown": int(rejected.sum())}
    said |= {"quality": threshold.quality} if threshold.quality else {}
    if a.out:

        def write(file):
            text = io.TextIOWrapper(file, "utf-8", newline="")
            table = csv.DictWriter(text, list(rows[0]) if rows else ["image"])
            table.writeheader()
            table.writerows(rows)
            text.flush()
            text.detach()

        runs.in_one_step(Path(a.out), write)
        return said | {"written": a.out}, [*lines, f"written to {a.out}"]
    each = [f"{r['image']}: {r['decision']} (nearest {r['label']}, score {r['score']:.4g}, theta {r['theta']:.4g})"
            for r in rows]  # fmt: skip
    return said | {"images": rows}, [*each, *lines]


def _scorer(run, a: argparse.Namespace, options: dict[str, str]) -> str:
    """The scorer's name; names and options are checked before anything long begins."""
    from cac_core.results import judge
    from cac_core.scoring import scorers

    name = a.scorer or judge.default_of(run)
    options |= recipes.checked_options(name, scorers.scorer_options(name), options)
    return name


def _sweep(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.results import evaluate, sweep

    run, root = runs.find(a.run, runs.store_of(a.runs)), datasets.root_of(a.data)
    if not run.written:
        evaluate.evaluate(run, root, device=a.device, progress=None if a.json else terminal.bar())
    given = {"temperatures": a.temperatures, "magnitudes": a.magnitudes, "most": a.most}
    given = {name: value for name, value in given.items() if value is not None}
    result = sweep.sweep(
        run, root, **given, as_published=a.as_published, device=a.device, progress=None if a.json else terminal.bar()
    )
    own = "distance" if a.as_published else sweep.first_of(result, run.recipe.method)
    lines = [result["leak"]] if a.as_published else []
    for score in ("msp", "msp_at_1") if own == "msp" else (own,):
        lines += _swept(result, score)
    if not a.as_published:
        of, count = result["choice"], len(run.known_names)
        lines.append(
            f"chosen by {of['images']} of {of['of']} validation images, moved again without each of the {count} classes"
        )
    return result, lines


def _swept(result: dict[str, Any], score: str) -> list[str]:
    """The AUROCs of a score at every cell of a sweep, and which cells are chosen."""
    lines = [f"AUROC of {score} ({result['scores'][score]}); rows: temperature, columns: magnitude"]
    lines.append(" " * 8 + "".join(f"{e:>9g}" for e in result["magnitudes"]))
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
    return lines


def _map(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.results import project

    run = runs.find(a.run, runs.store_of(a.runs))
    how = {"neighbours": a.neighbours, "min_dist": a.min_dist, "seed": a.seed, "dense": a.dense, "most": a.most}
    file = project.umap_map(run, **how, progress=None if a.json else terminal.bar())
    made = next(one for one in project.maps(run) if one.path == file)
    result = {"run": run.id, "path": str(file), "images": len(made.xy), "of": made.images, **made.parameters,
              "trustworthiness": made.trustworthiness, "same_class": made.same_class}  # fmt: skip
    return result, [f"{file}: {len(made.xy)} of {made.images} images, trustworthiness {made.trustworthiness:.3f}"]


def _runs(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs

    rows = []
    for run in runs.every(runs.store_of(a.runs)):
        if run.beginning:
            rows.append({"run": run.id, "state": run.state})
            continue
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
        elif "dataset" not in r:
            lines.append(f"{r['run']:44} {r['state']}")
        else:
            share = [f"{r[k]:.4f}" if r[k] is not None else "" for k in ("accuracy", "auroc")]
            epochs = f"{r['epochs']}/{r['of']}"
            lines.append(f"{r['run']:44} {r['state']:9} {epochs:>8} {share[0]:>9} {share[1]:>7}")
    first = shell.command("train", "--dataset", "digits")
    none = f"No runs in {runs.store_of(a.runs)} yet. Train one with:\n    {first}"
    return {"runs": rows}, lines or [runs.passed_over(runs.store_of(a.runs)) or none]


def _reproduce(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.results import reproduce

    if (away := jobs.is_away(a)) and not a.missing:
        raise ValueError(say("--on goes with --missing: nothing else is handed to a cluster."))
    recipes.known_name(a.dataset or reproduce.GRID[0], reproduce.GRID, say("data set"))
    recipes.known_name(a.method or "cac", recipes.METHODS, say("method"))
    store, root = runs.store_of(a.runs), datasets.root_of(a.data)
    read = reproduce.readings(store)
    if not a.own:
        read = reproduce.with_shipped(read, reproduce.readings(reproduce.SHIPPED))
    found = reproduce.tables(read, a.dataset, a.method)
    result = {"cells": [reproduce.record(cell) for cell in found.cells], "published_only": found.others,
              "broken": [{"run": name, "why": why} for name, why in found.broken], "unfit": found.unfit}  # fmt: skip
    lines = reproduce.lines(found)
    lines += [f"{name} is not counted: {why}" for name, why in found.broken]
    lines += [f"entry {place} of published.json is none, and is left out" for place in found.unfit]
    lines += dict.fromkeys(f"{name}: {state}" for cell in found.cells for name, state in cell.under_way)
    left = list({recipe.id: recipe for cell in found.cells for recipe in cell.to_train}.values())
    if not a.missing:
        missing = {recipe.id for cell in found.cells for recipe in cell.missing}
        theirs = len(set().union(*(cell.shipped for cell in found.cells)))
        own = f", {theirs} of which the project has measured itself" if theirs else ""
        lines += [f"{len(missing)} runs are missing here{own}; --missing trains {len(left)}"] if missing else []
        return result, lines
    from cac_core.jobs import launch

    here = {name: not datasets.here(name, root)[1] for name in {recipe.dataset for recipe in left}}
    ready = [one for one in left if here[one.dataset]]
    if away:
        every = launch.submit_there(store, ready, a.on, jobs.needs_in(a), root=root) if ready else []
        lines += [f"{len(every)} trainings wait on {a.on}. Look after them with:\n    {jobs.look_after(store)}"]
    else:
        every = launch.submit_recipes(store, ready, root=root, device=a.device)
        work = shell.command("work", "--runs", store)
        lines += [f"{len(every)} trainings are in the queue. Work through it with:\n    {work}"]
    queued, absent = [job.run for job in every], sorted(name for name, there in here.items() if not there)
    lines += [f"The images of {name} are not here: {shell.command('fetch', name)}" for name in absent]
    return result | {"queued": queued, "absent": absent}, lines


def _table(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.results import table

    rows = table.rows(runs.store_of(a.runs))
    return {"rows": rows}, table.lines(rows)
