"""train and probe: a recipe is trained, or what it will take is measured."""

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from cac_core import recipe as recipes
from cac_core.commands import jobs, results, terminal
from cac_core.sentences import say


def add(command) -> None:
    options = "\n".join(f"  {m:16} {terminal.listed(recipes.method_options(m))}" for m in recipes.METHODS)
    trunks = "\n".join(
        f"  {b:16} {terminal.listed(recipes.backbone_options(b))}"
        for b in ("small", "plain", "fast", "efficientnet-b0", "efficientnet-lite0", "wide_resnet-40-2", "resnet18")
    )
    named = f"options of the methods, as --NAME VALUE:\n{options}\noptions of the backbones:\n{trunks}"
    flags = _recipe_flags()
    train = command(
        "train", "train a recipe, or go on with it where its run was left", _train, flags, options=True, epilog=named
    )
    train.add_argument("--resume", metavar="RUN", help="go on with this run, whatever its recipe")
    train.add_argument(
        "--again", action="store_true",
        help="where the data set has changed since the run was trained, put that run into the trash and train it anew",
    )  # fmt: skip
    jobs.on_cluster(train, "hand it to a cluster that")
    train.add_argument("--nodes", help="of a cluster: how many machines train it together, each with so much")
    train.add_argument("--compile", action="store_true", help="compile the network first (worth it for long runs)")
    train.add_argument("--mlflow", action="store_true", help="copy the finished run into MLflow, if that is installed")
    train.add_argument("--tensorboard", action="store_true", help="write TensorBoard files into the run")

    measure = command(
        "probe",
        "what a recipe takes here: time, memory, disk, by a few steps of it",
        _probe,
        flags,
        options=True,
        epilog=named,
    )
    measure.add_argument("--again", action="store_true", help="measure also what has been measured before")


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
        "--preset",
        default="quick",
        help=f"{', '.join(recipes.PRESETS)}; quick (default) is short, fast strong in little time, paper as "
        "published, photos for your own",
    )
    flags.add_argument("--epochs", type=int)
    flags.add_argument("--fine-epochs", type=int, help="more epochs at a tenth of the rate, from the best checkpoint")
    flags.add_argument("--schedule", help=", ".join(recipes.CHOICES["schedule"]))
    flags.add_argument("--batch", type=int)
    flags.add_argument("--lr", type=float, help="learning rate: the peak of a cycle, or the constant")
    flags.add_argument("--momentum", type=float)
    flags.add_argument("--decay", type=float, help="weight decay")
    flags.add_argument("--optimizer", help="sgd, or nesterov: with its momentum")
    flags.add_argument("--decays", help="what decays: all, or weights alone")
    flags.add_argument(
        "--augment",
        help="affine: crops, mirrors, rotations; shift: by pixels, mirrored in turns; randaugment: shift and one small "
        "change of fourteen; colour: affine and colour jitter",
    )
    flags.add_argument(
        "--cutout", type=int, help="side in pixels of a square that an image loses, with shift and randaugment"
    )
    flags.add_argument("--tta", help="none, or mirror: judged by the mean with the mirror image")
    flags.add_argument("--trunk-rate", type=float, help="times the learning rate, for the backbone alone")
    flags.add_argument("--held-out", type=float, help="the share of the known training images that is validation")
    flags.add_argument("--size", type=int, help="image side in pixels, if not the data set's own")
    flags.add_argument("--steps", type=int, help="the least number of steps, whatever the count of images")
    flags.add_argument("--folds", type=int, help="cross-validate a head on fixed features, instead of holding out")
    flags.add_argument("--seed", type=int)
    flags.add_argument("--divide", type=int, help="the seed that draws what is held out, for seeds that hold out alike")
    flags.add_argument("--begun-with", metavar="RUN", help="begin with the weights of this run of the same trial")
    flags.add_argument("--precision", help="auto, float32 or bfloat16")
    flags.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return flags


def _handed_over(a: argparse.Namespace, recipe: recipes.Recipe, store: Path, root: Path):
    """What `train --on CLUSTER` does: nothing is trained here."""
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.jobs import clusters, launch
    from cac_core.results import evaluate

    needs = jobs.needs_in(a)
    if (mine := runs.Run(store / recipe.id)).state == "finished" and not a.again and evaluate.opens(mine):
        told = say("{run} is finished already: nothing was handed over.", run=recipe.id)
        return {"run": recipe.id, "on": a.on, "state": "finished"}, [told]
    if (lacking := datasets.here(recipe.dataset, root)[1]) and recipe.dataset in datasets.DATASETS:
        raise FileNotFoundError(lacking)
    (job,) = launch.submit_there(store, [recipe], a.on, needs, root=root, again=a.again)
    queue = jobs.look_after(store)
    if (job.on, job.needs) != (a.on, needs):
        raise ValueError(say(
            "Job {job} is {state} already and trains this run on {where}, asked for otherwise, so nothing was handed "
            "over. Stop it first:\n"
            "    {command}",
            job=job.id, state=job.state, where=job.where, command=f"{queue} --stop {job.id}",
        ))  # fmt: skip
    result = {"job": job.id, "run": job.run, "on": job.on, "state": job.state}
    doubt = clusters.doubt(needs, clusters.slots(a.on, wait=jobs.WAIT))
    doubts = [doubt] if doubt else []
    result |= {"warnings": doubts} if doubts else {}
    return result, [f"{job.id}: {job.run} on {job.where}", *doubts, "Look after it with:", f"    {queue}"]


def _train(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.exchange import to_mlflow
    from cac_core.results import judge

    if a.mlflow:
        to_mlflow.check()  # before hours of training
    store, root, away = runs.store_of(a.runs), datasets.root_of(a.data), jobs.is_away(a)
    if a.resume:
        recipe = (mine := runs.find(a.resume, store)).recipe
        store = mine.path.parent
        if mine.record.get("imported_from"):
            raise ValueError(say("{run} came from elsewhere, and is not trained here.", run=mine.id))
        if away and mine.id != recipe.id:
            raise ValueError(say(
                "A cluster trains a run under the name of its recipe. Rename the folder {run} to {name} first.",
                run=mine.path, name=recipe.id,
            ))  # fmt: skip
    else:
        recipe = _recipe(a, options, root)
        # a wrong name is told before torch loads
        trial = datasets.trial_of(recipe, datasets.row_of(recipe.dataset, root, recipe.size))
        mine = runs.Run(store / recipe.id)
        goes_on = mine.state == "finished" or (mine.path / "last.pt").exists()
        if recipe.begun_with and (a.again or not goes_on):
            from cac_core.training import starts

            starts.start_of(recipe, trial, store)
    if away:
        return _handed_over(a, recipe, store, root)
    if a.again and os.environ.get("RANK", "0") == "0":  # of several processes under torchrun the first one alone
        _away(mine, root)
    from cac_core.training import loop

    if not a.json and os.environ.get("RANK", "0") == "0" and recipe.dataset not in datasets.DATASETS:
        terminal.tell_ahead(root, recipe.dataset, recipe.size)
    shown = _Progress(mine.path, mine.id, quiet=a.json)
    run = loop.train(
        recipe, store, root, folder=mine.id, device=a.device, compiled=a.compile, tensorboard=a.tensorboard, tell=shown
    )  # fmt: skip
    shown.close()
    if loop.distributed.rank():  # of several processes under torchrun the first one tells
        return None, []
    status = run.status
    result = {"run": run.id, "path": str(run.path), "state": status["state"], "epochs": len(run.epochs())}
    lines = [f"{run.path}: {status['state']}" + (f" ({status['reason']})" if status.get("reason") else "")]
    if doubts := run.warnings():
        result["warnings"] = doubts
        lines += doubts
    if a.preset in recipes.COUNTED and not (a.resume or a.recipe):
        result["chosen"] = recipes.by_count(recipe, _fewest(recipe, root))
        lines.append(result["chosen"])
    if status["state"] == "finished" and a.mlflow:
        result["mlflow"] = to_mlflow.export(run)
    if status["state"] == "finished":
        result["report"] = numbers = results.reported(run, a)
        lines += terminal.report_lines(numbers)
        if choice := run.report().get("choice"):
            result["scorer_chosen"] = judge.why(choice, recipe.method)
            lines.append(result["scorer_chosen"])
    return result, lines


def _away(run, root: Path) -> None:
    """Put a run into the trash where its images are not those that the data set holds now."""
    from cac_core.data import datasets
    from cac_core.exchange import shelf

    if not (run.path / "recipe.json").exists():
        return
    images = datasets.load(run.recipe.dataset, root, run.recipe.size, run.record.get("data"))
    if run.changed(*datasets.identity(images)):
        away = shelf.delete(run)
        terminal.aside(f"{run.id} was trained on other images. It is in the trash now, {away.path}.")


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
        f"an epoch            {terminal.span(took.epoch()) if took.epoch() > 10 else f'{took.epoch():.2g} s'}",
        f"the whole run       {terminal.span(result['seconds'])}: {epochs} epochs and the evaluation",
        f"memory              {took.memory / 1e6:.0f} MB" + (f" of {took.room / 1e6:.0f} MB" if took.room else ""),
        f"disk                {result['disk'] / 1e6:.1f} MB",
    ]
    return result, lines + ["Other work was under way here, so it will take less than that."] * took.beside


def _recipe(a: argparse.Namespace, options: dict[str, str], root: Path) -> recipes.Recipe:
    if a.recipe:
        from cac_core import records

        try:
            return recipes.Recipe.from_json(records.read(Path(a.recipe), object, links=True))
        except (OSError, ValueError) as error:
            raise ValueError(
                say("{file} holds no recipe that can be read ({error}).", file=a.recipe, error=error)
            ) from error
    fields = ("dataset", "family", "trial", "method", "backbone", "epochs", "fine_epochs", "schedule", "batch", "lr",
              "momentum", "decay", "optimizer", "decays", "augment", "cutout", "tta", "held_out", "steps", "folds",
              "size", "trunk_rate", "seed", "divide", "begun_with", "precision")  # fmt: skip
    given = {name: getattr(a, name) for name in fields}
    if a.trial and a.trial.endswith(".json"):
        from cac_core.data import datasets

        dataset = a.dataset or recipes.DEFAULT.dataset
        trial = datasets.trial_from_file(Path(a.trial), dataset, datasets.row_of(dataset, root, a.size or 0))
        given |= {"family": "custom", "trial": trial.index, "known": trial.known, "unknown": trial.unknown}
    recipe = recipes.compose(a.preset, options, **given)
    if a.preset not in recipes.COUNTED:
        return recipe
    return recipes.compose(a.preset, options, images=_fewest(recipe, root), **given)


def _fewest(recipe: recipes.Recipe, root: Path) -> int:
    """The number of training images in the smallest known class."""
    from cac_core.data import datasets

    trial, counts = (
        datasets.trial_of(recipe, datasets.row_of(recipe.dataset, root)),
        datasets.counts(recipe.dataset, root),
    )
    return min(counts.get(c, 0) for c in trial.known)


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
                f"{terminal.pace(event['images_per_second'])}  {terminal.span(event['seconds_left'])} left"
            )
        elif event["kind"] == "progress":
            part = f"epoch {event['epoch']}/{event['epochs']}  batch {event['step']}/{event['steps']}"
            line = f"{part}  {terminal.pace(event['images_per_second'])}  {terminal.span(event['seconds_left'])} left"
        elif event["kind"] == "making":
            line = f"making images {event['done']} %  {terminal.span(event['seconds_left'])} left"
        elif event["kind"] == "begun":
            line = f"begun with {event['tensors']} of {event['of']} tensors of {event['run']}"
        elif event["kind"] == "warning":
            line = f"warning  {event['text']}"
        elif event["kind"] in ("reading", "features"):
            line = f"{event['kind']} {event['done']}/{event['of']}"
            if "seconds_left" in event:
                line += f"  {terminal.pace(event['images_per_second'])}  {terminal.span(event['seconds_left'])} left"
        else:
            return
        with contextlib.suppress(OSError), open(self.log, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self.quiet:
            return
        if not sys.stderr.isatty() or event["kind"] not in ("epoch", "progress"):
            terminal.aside(line)
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
