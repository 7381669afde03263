"""Training: one loop for every method. It starts a run or goes on with it, and only ever writes the run's directory."""

import contextlib
import io
import math
import platform
import shutil
import signal
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TypedDict

import filelock
import numpy as np
import psutil
import torch
from safetensors.torch import load_file, save

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.data.decoded import taken
from cac_core.networks import lite
from cac_core.networks.inputs import Stats, device_of, half_of, normalised, on_device, scale_of
from cac_core.networks.methods import SIDES
from cac_core.recipe import Recipe
from cac_core.records import Count, Curve, Within
from cac_core.results import evaluate, frozen
from cac_core.runs import Run
from cac_core.sentences import say
from cac_core.training import distributed, starts, twins
from cac_core.training.batches import Batches, MapBatches

SNAPSHOTS = 60  # so many at most, of so many validation images:
SNAPSHOT_IMAGES = 400
PREPARED_BY = 5000  # training images that a backbone may look at before the first step
BEAT = 5.0  # seconds between two signs of life within an epoch
KEPT = 60.0  # seconds after which what is made between two stages is kept, which may take longer than all epochs
PAUSE = 1.0  # and while features are computed


class TrainingFailed(RuntimeError):
    """The run ended as failed; the message says the cause and what to try. What was saved before stays."""


def train(
    recipe: Recipe,
    store: Path,
    root: Path,
    *,
    folder: str = "",
    device: str = "auto",
    compiled: bool = False,
    tensorboard: bool = False,
    tell: Callable[[dict[str, Any]], None] = lambda event: None,
) -> Run:
    """Train a recipe to its end, evaluate it, and return its run; a run that exists goes on where it was saved.

    folder is that of the run in the store, where it is called otherwise than its recipe. A finished run whose weights
    are gone, damaged or of another network is trained anew; where that cannot begin, it stays as it is.
    Where a finished run's images have changed since, ValueError says so: its results stay, and are of the old ones.
    tell receives every event. Ends early, saved, on SIGTERM, SIGINT or a file named stop in the run's directory; the
    run's state tells. Raises ValueError for a wrong recipe, TrainingFailed with the cause for what goes wrong later.
    Under torchrun each process calls this and trains on its share of every batch; the first alone writes and says.
    """
    row = datasets.row_of(recipe.dataset, root, recipe.size)
    trial = datasets.trial_of(recipe, row)
    run = Run(store / (folder or recipe.id))
    with distributed.joined(device_of(device)) as chosen:

        def work() -> None:
            _Training(run, recipe, trial, row, root, chosen, compiled, tensorboard, tell).work()

        if distributed.rank() == 0:
            _lead(run, recipe, root, chosen, work)
        elif distributed.gathered(None)[0]:
            work()
    return run


def _lead(run: Run, recipe: Recipe, root: Path, device: torch.device, work: Callable[[], None]) -> None:
    """Do the work where there is any, as the only one at this run, and leave its status right whatever comes."""
    fresh = not run.path.exists()
    run.path.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(run.path / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        pid = run.status.get("pid", say("unknown"))
        raise ValueError(
            say("{run} is being trained by another process ({pid}). Wait for it, or stop it.", run=run.id, pid=pid)
        ) from error
    try:
        runs.remove_half_written(run)
        before = run.status
        finished = before["state"] == "finished" and bool(run.written) and (run.path / "recipe.json").exists()
        if not distributed.gathered(not (finished and evaluate.opens(run)))[0]:
            _check_finished(run, recipe, root)
            return
        (run.path / "stop").unlink(missing_ok=True)
        _set_status(run, "starting", device=str(device), **runs.process_now())
        try:
            work()
        except Exception as error:
            _there(run)
            began = any((run.path / name).exists() for name in ("recipe.json", "last.pt"))
            if fresh and not began:  # refused before it was anything
                shutil.rmtree(run.path, ignore_errors=True)
                raise
            if finished and run.state == "starting":  # what it has put out is there still
                runs.write_json(run.path / "status.json", before)
                raise
            reason = cause(error, recipe)
            _try_status(run, "failed", reason=reason)
            if isinstance(error, ValueError | FileNotFoundError) and not isinstance(error, FloatingPointError):
                raise
            raise TrainingFailed(reason) from error
    finally:
        lock.release()


def _check_finished(run: Run, recipe: Recipe, root: Path) -> None:
    """Raises ValueError where the data set's images are no longer those of a finished run."""
    try:
        images = datasets.load(recipe.dataset, root, recipe.size, run.record.get("data"))
        changed = run.changed(*datasets.identity(images))
    except FileNotFoundError:
        return  # the images are not here, as those of a run that was brought from elsewhere
    if changed:
        then, now = changed
        raise ValueError(say(
            "{run} is finished, but of other images: {dataset} has changed since, and nothing was trained. Then: "
            "{then}; now: {now}. Give another --seed, which leaves this run where it is, or train it again on the new "
            "ones, which puts it into the trash:\n"
            "    {command} --again",
            run=run.id, dataset=recipe.dataset, then=then, now=now, command=evaluate.train_command(run),
        ))  # fmt: skip


class _Stop(Exception):
    pass


class Steps:
    """What training is but for its run: the network, its batches, its optimizers, and one step. It writes nothing."""

    def __init__(
        self,
        recipe: Recipe,
        trial: datasets.Trial,
        row: datasets.Dataset,
        images: dict[str, datasets.Images],
        device: torch.device,
    ):
        self.recipe, self.trial, self.row, self.device = recipe, trial, row, device
        self.validated_on = datasets.FOLDS if recipe.folds else datasets.HELD_OUT
        parts = datasets.parts_of(
            images, trial, recipe.divided_by, row, share=recipe.held_out, validated_on=self.validated_on
        )  # fmt: skip
        self.parts, self.train, self.validation = parts, parts["train"], parts["validation"]
        self.images = {name: len(part) for name, part in parts.items()}
        if recipe.folds and distributed.processes() > 1:
            raise ValueError(
                say("A cross-validated run is trained by one process: it takes seconds. Leave out torchrun.")
            )

        torch.manual_seed(recipe.seed)
        torch.backends.cudnn.deterministic = True  # so that a run that went on is the run that never stopped
        self.method = evaluate.build(recipe, len(trial.known), row.channels, row.size)
        if distributed.processes() > 1 and self.method.done() < 1:
            raise ValueError(say(
                "{method} makes images up between two stages, and several networks learn in turn: it is trained by one "
                "process. Leave out torchrun.",
                method=recipe.method,
            ))  # fmt: skip
        if self.method.alone and distributed.processes() > 1:
            raise ValueError(say(
                "{method} learns from a batch as a whole, which several processes would divide: it is trained by one "
                "process. Leave out torchrun.",
                method=recipe.method,
            ))  # fmt: skip
        self.fixed = bool(self.method.backbone.fixed_by)  # then its maps are computed once, in float32
        self.head_only = self.fixed and not any(p.requires_grad for p in self.method.backbone.parameters())
        precision = "float32" if self.fixed and recipe.precision == "auto" else recipe.precision
        self.method.half = half_of(device, precision, recipe.backbone)
        self.method.to(device, memory_format=torch.channels_last)
        self.stats = self.method.backbone.scale or datasets.statistics(parts["train"].pixels)
        self.scale = scale_of(self.stats, device)
        self.sums: dict[str, torch.Tensor] = {}
        self._new_optimizers()

    def begin(
        self, root: Path, tell: Callable[[int, int, float], None] = lambda done, of, rate: None, few: int = 0
    ) -> None:
        """Make the batches; of a network with a fixed part the maps first, which go below the data root.

        few: the maps of so many images stand in for those of all, for a rehearsal.
        """
        r, labels, least = self.recipe, self.train.labels, 0
        if r.steps:
            least = math.ceil(r.steps / (r.epochs + r.fine_epochs))
        sizes = {"batch": r.batch, "seed": r.seed, "device": self.device, "rank": distributed.rank(),
                 "processes": distributed.processes(), "least": least}  # fmt: skip
        if not self.fixed:
            self.batches = Batches(
                self.train, self.row, self.stats, augment=r.augment, cutout=r.cutout, views=self.method.views, **sizes
            )  # fmt: skip
            some = np.random.default_rng(r.seed).permutation(len(self.train))[:PREPARED_BY]
            x = on_device(self.train.pixels[some], self.device).float() / 255
            self.method.backbone.prepare(normalised(x, self.scale))
        else:
            trunk = self.method.backbone
            views = frozen.views_of(trunk, self.row)
            how = {"root": root, "dataset": r.dataset, "row": self.row, "scale": self.scale, "tell": tell}
            shown, held = (taken(part.pixels, slice(few or None)) for part in (self.train, self.validation))
            shown, self.held = frozen.kept(trunk, shown, views, **how), frozen.kept(trunk, held, [0], **how)
            if few:
                self.held, shown = self.held.tiled(len(self.validation)), shown.tiled(len(self.train))
            self.fold = datasets.folds_of(self.validation.labels, max(r.folds, 1), r.divided_by)
            folds = self.fold if r.folds else np.full(len(labels), -2)
            self.batches = MapBatches(shown, labels, folds, **sizes)
            trunk.given_maps = True
        distributed.share(self.method, self.batches.batch, self.batches.mine)

    def judged(self, start: int, stop: int) -> torch.Tensor:
        """The logits of some validation images; of a cross-validated run by heads that have not learnt from them."""
        if not self.fixed:
            x = on_device(self.validation.pixels[start:stop], self.device).float() / 255
            return self.method(normalised(x, self.scale))[0]
        places = np.arange(start, min(stop, len(self.validation)))
        logits, features = self.method(self.held.rows(np.zeros(len(places), int), places).to(self.device))
        if not self.recipe.folds:
            return logits
        fold = torch.as_tensor(self.fold[places], device=self.device)
        for n in fold.unique().tolist():
            logits[fold == n] = self.method.side(n, features[fold == n])
        return logits

    def _new_optimizers(self) -> None:
        r = self.recipe
        self.optimizers = {
            part: self.method.optimizer(part, parameters) or torch.optim.SGD(
                self._groups(parameters), lr=r.lr, momentum=r.momentum, nesterov=r.optimizer == "nesterov"
            )
            for part, parameters in self.method.parts().items()
        }  # fmt: skip

    def _groups(self, parameters: list[torch.nn.Parameter]) -> list[dict[str, Any]]:
        """The backbone's parameters at their own rate, and the others; those that decay, and those that do not."""
        trunk, r = {id(p) for p in self.method.backbone.parameters()}, self.recipe
        bare = {id(p) for p in self.method.bare()}
        groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
        for within in (True, False):
            for p in parameters:
                if (id(p) in trunk) == within:
                    decay = r.decay if r.decays == "all" or p.ndim > 1 else 0.0
                    times = r.trunk_rate if within else self.method.backbone.bare_rate if id(p) in bare else 1.0
                    groups.setdefault((times, decay), []).append(p)
        return [{"params": some, "times": times, "weight_decay": decay} for (times, decay), some in groups.items()]

    def learn(self, x: torch.Tensor, y: torch.Tensor, rate: float) -> None:
        """One batch, images [N, C, H, W] and labels [N], at this learning rate; its loss terms are added to sums."""
        share = len(y) / (self.batches.batch * self.method.views)  # of the batch is here: all of it, but for torchrun
        for part, terms in self.method.losses(x, y):
            optimizer = self.optimizers[part]
            for group in optimizer.param_groups:
                group["lr"] = rate * group["times"] if "times" in group else group["lr"]
            optimizer.zero_grad(set_to_none=True)
            terms = {name: value * share for name, value in terms.items()}
            terms["total"].backward()
            terms = {name: value.detach() for name, value in terms.items() if part != SIDES}
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            distributed.add_up([*terms.values(), *gradients])
            optimizer.step()
            for name, value in terms.items():
                name = name if part == "net" else f"{part}_{name}"
                self.sums[name] = self.sums.get(name, 0) + value


class _Training(Steps):
    def __init__(self, run, recipe, trial, row, root, device, compiled, tensorboard, tell):
        self.run, self.told, self.writer = run, tell, None
        if recipe.backbone in lite.WEIGHTS:
            lite.weights_of(recipe.backbone)  # raises where they are not here: to decode the images may take an hour
        if recipe.begun_with and not (run.path / "last.pt").exists():
            starts.start_of(recipe, trial, run.path.parent)
        before = run.record.get("data") if (run.path / "recipe.json").exists() else None
        images = datasets.load(
            recipe.dataset, root, recipe.size, before, lambda *told: self._ahead("reading", *told)
        )  # fmt: skip
        self.digest, counts = datasets.identity(images)
        if len(set(distributed.gathered(self.digest))) > 1:
            raise ValueError(say(
                "The processes do not find the same images of {dataset} under their --data. Give each machine a copy "
                "of the same.",
                dataset=recipe.dataset,
            ))  # fmt: skip
        super().__init__(recipe, trial, row, images, device)
        self.root = root
        fixed_by = self.method.backbone.fixed_by
        self.metadata = lambda epoch: evaluate.weights_metadata(recipe, trial, epoch, fixed_by)
        _check_or_write_record(run, recipe, trial, row, self.stats, self.digest, counts, self.validated_on)
        if compiled:
            self.method.backbone.compile()
        self.total = recipe.epochs + recipe.fine_epochs
        self.turn = turn_of(self.method.begins, self.total)
        self.writer = _tensorboard(run.path) if tensorboard and distributed.rank() == 0 else None
        sample = np.linspace(0, len(self.validation) - 1, min(SNAPSHOT_IMAGES, len(self.validation))).astype(int)
        self.sample = np.unique(sample)
        self.every = math.ceil(self.total / (SNAPSHOTS - 1))
        self.beat = 0.0

        # the state, all of it: what _save writes and _load reads
        self.epoch, self.step, self.counted, self.makings = 0, 0, 0, 0
        self.best, self.best_epoch = math.inf, -1
        self.snapshots: dict[int, np.ndarray] = {}

    def work(self) -> None:
        run, stop = self.run, threading.Event()
        if self._is_twin():
            return

        def asked() -> bool:
            return distributed.any_of(stop.is_set() or (run.path / "stop").exists())

        with _signals(stop):
            try:
                self.begin(self.root, lambda *told: self._features(*told, stop))
            except _Stop:
                self._stopped()
                return
            self._load()
            if len(set(distributed.gathered((self.epoch, self.step)))) > 1:
                raise ValueError(
                    say("The processes do not find the same files in {path}. All need the same --runs.", path=run.path)
                )
            if self.epoch == 0 and self.step == 0 and not self.snapshots:
                if self.recipe.begun_with:
                    self._begin_with()
                if not self.fixed:
                    self.method.eval().first(self.batches.plain(evaluate.BATCH))
                self._snapshot(self._validate()[1], 0)
                self._save()
            _set_status(run, "running", device=str(self.device), machine=machine(self.device))
            self.began, self.beat, self.seen, self.spent = time.monotonic(), time.monotonic(), 0, 0.0
            try:
                with _threads(1 if self.head_only else torch.get_num_threads()):
                    while self.epoch < self.total:
                        self._one_epoch(asked)
            except _Stop:
                self._save()
                self._stopped()
                return
        self._finish()

    def _begin_with(self) -> None:
        """Put the weights of the run that the recipe names in the place of random ones, where they fit."""
        other, mine = starts.start_of(self.recipe, self.trial, self.run.path.parent), evaluate.learnt(self.method)
        found = starts.taken(other, self.method, self.digest)
        evaluate.load_learnt(self.method, mine | found)
        self._event(kind="begun", run=other.id, tensors=len(found), of=len(mine))

    def _ahead(self, kind: str, done: int, of: int, rate: float) -> None:
        """A sign of life while images are decoded, or their maps computed."""
        said = {"images_per_second": round(rate, 1), "seconds_left": round((of - done) / rate, 1)} if rate else {}
        self._event(kind=kind, done=done, of=of, **said)

    def _features(self, done: int, of: int, rate: float, stop: threading.Event) -> None:
        """Said now and then; here, too, one may stop."""
        if not rate or done == of or time.monotonic() - self.beat > PAUSE:
            self._ahead("features", done, of, rate)
            self.beat = time.monotonic()
        if stop.is_set() or (self.run.path / "stop").exists():
            raise _Stop

    @distributed.only_first
    def _stopped(self) -> None:
        (self.run.path / "stop").unlink(missing_ok=True)
        _set_status(self.run, "stopped", reason=say("Stopped when asked to; train it again to go on."))

    def _is_twin(self) -> bool:
        """Whether another run has this very network, which is taken from there then, and judged on this data set."""
        if distributed.processes() > 1 or (self.run.path / "last.pt").exists():
            return False
        if (other := twins.twin_of(self.recipe, self.trial, self.digest, self.run.path.parent)) is None:
            return False
        twins.take_from(other, self.run)
        self._finish(device=str(self.device), machine=str(other.status.get("machine", "")), reason=say(
            "It was not trained again: {other} has the same recipe, images and known classes, and so the same network.",
            other=other.id,
        ))  # fmt: skip
        return True

    @distributed.only_first
    def _finish(self, **about: str) -> None:
        if self.writer:
            self.writer.close()
        evaluate.evaluate(
            self.run, self.root, device=str(self.device), parts=self.parts,
            progress=lambda *p: self.told({"kind": "evaluation", "at": p}),
        )  # fmt: skip
        _set_status(self.run, "finished", final=True, **about)

    def _one_epoch(self, asked_to_stop: Callable[[], bool]) -> None:
        late = self.epoch >= self.turn
        self.method.way = self.epoch / self.total
        if late:
            self.method.way = max(self.method.way, self.method.begins)
        if self.epoch == self.turn and self.step == 0:
            self._make(asked_to_stop)
        self.method.train()
        began, first = time.monotonic(), self.step
        rates = [rate_at(self.recipe, self.epoch + step / self.batches.steps) for step in range(self.batches.steps)]
        for x, y in self.batches.epoch(self.epoch, self.step):
            self.learn(x, y, rates[self.step])
            self.step += 1
            self.counted += 1
            self.seen += self.batches.batch
            self.spent += self.batches.batch * self.costs[late]
            if time.monotonic() - self.beat > BEAT:
                self._beat()
            if asked_to_stop():
                raise _Stop
        took = time.monotonic() - began
        means = {name: float(value) / self.counted for name, value in self.sums.items()}
        self._check_finite(means, "training")
        measured, logits, beside = self._validate()
        self._check_finite(measured, "validation")
        number = self.epoch + 1
        if late and measured[self.method.criterion] < self.best:
            self.best, self.best_epoch = measured[self.method.criterion], number
            self._write_best()
        if number % self.every == 0 or number == self.total:
            self._snapshot(logits, number)
        speed = self.batches.batch * (self.batches.steps - first) / max(took, 1e-9)
        self._event(
            kind="epoch", epoch=number, epochs=self.total, train=means, validation=measured, lr=rates[-1],
            best_epoch=self.best_epoch, images_per_second=round(speed, 1), seconds_left=self._left(),
            memory=_memory(self.device), **({"beside": beside} if beside else {}),
        )  # fmt: skip
        self.epoch, self.step, self.sums, self.counted = number, 0, {}, 0
        if number == self.recipe.epochs and self.recipe.fine_epochs:  # the second stage starts from the best epoch,
            distributed.gathered(number)  # none reads it before it is written
            if self.best_epoch > 0:  # where one is settled
                best = load_file(self.run.path / "best.safetensors", device=str(self.device))
                evaluate.load_learnt(self.method, best)
            self._new_optimizers()
        self._save()

    def _make(self, asked_to_stop: Callable[[], bool]) -> None:
        """What a method makes up between its stages, from batches of epochs that are not trained on."""
        self.method.eval()
        before, kept = self.makings, time.monotonic()
        while (done := self.method.done()) < 1:
            further, step = divmod(self.makings, self.batches.steps)
            self.method.make(*next(self.batches.epoch(self.total + further, step)))
            self.makings += 1
            self.spent += (self.method.done() - done) * self.costs[2]
            if time.monotonic() - self.beat > BEAT:
                self._event(kind="making", done=round(100 * self.method.done()), of=100, seconds_left=self._left())
                self.beat = time.monotonic()
            if self.method.done() >= 1:  # what it says of all comes before anything is kept or stops
                break
            if time.monotonic() - kept > KEPT:
                self._save()
                kept = time.monotonic()
            if asked_to_stop():
                raise _Stop
        if self.makings > before:
            for doubt in self.method.doubts():
                self._event(kind="warning", text=doubt)
            self._save()

    def _validate(self) -> tuple[dict[str, float], np.ndarray, dict[str, float]]:
        """The loss terms and the accuracy on the validation images, their logits [N, C], and what the method tells."""
        self.method.eval()
        logits = torch.zeros(len(self.validation), len(self.trial.known), device=self.device)
        with torch.no_grad():
            for start in range(0, len(logits), evaluate.BATCH)[distributed.rank() :: distributed.processes()]:
                logits[start : start + evaluate.BATCH] = self.judged(start, start + evaluate.BATCH)
            distributed.add_up([logits])
            y = torch.as_tensor(self.validation.labels, device=self.device)
            terms = {name: float(value) for name, value in self.method.terms(logits, y).items()}
            terms["accuracy"] = float((self.method.affinity(logits).argmax(1) == y).float().mean())
            beside = self.method.beside(logits, y)
        return terms, logits.cpu().numpy(), beside

    def _check_finite(self, values: dict[str, float], where: str) -> None:
        if wrong := [name for name, value in values.items() if not math.isfinite(value)]:
            kept = say("The best epoch before is kept.") if self.best_epoch > 0 else say("No epoch before is kept.")
            raise FloatingPointError(say(
                "The {where} loss ({terms}) was no longer a finite number in epoch {epoch}. Try a smaller learning "
                "rate (--lr {rate}) or --precision float32. {kept}",
                where=say(where), terms=wrong, epoch=self.epoch + 1, rate=f"{self.recipe.lr / 10:g}", kept=kept,
            ))  # fmt: skip

    @distributed.only_first
    def _beat(self) -> None:
        """A sign of life, and a look at the losses: a run that has gone wrong should not go on for an hour."""
        self._check_finite({name: float(v) for name, v in self.sums.items()}, "training")
        speed = self.seen / (time.monotonic() - self.began)
        self._event(
            kind="progress", epoch=self.epoch + 1, epochs=self.total, step=self.step, steps=self.batches.steps,
            images_per_second=round(speed, 1), seconds_left=self._left(),
        )  # fmt: skip
        self.beat = time.monotonic()

    def _left(self) -> float:
        """Seconds to the end of training, all stages of it, by what this process has done since it began."""
        turn = self.turn * self.batches.steps
        done, total = self.epoch * self.batches.steps + self.step, self.total * self.batches.steps
        early, late, making = self.costs
        left = self.batches.batch * (max(turn - done, 0) * early + (total - max(turn, done)) * late)
        if done <= turn:
            left += (1 - self.method.done()) * making
        return round(left * (time.monotonic() - self.began) / max(self.spent, 1), 1)

    @property
    def costs(self) -> tuple[float, float, float]:
        return self.method.costs()

    @distributed.only_first
    def _event(self, **event: Any) -> None:
        runs.append(_there(self.run) / "events.jsonl", event)
        self.told(event)
        if self.writer and event["kind"] == "epoch":
            for split in ("train", "validation"):
                for name, value in event[split].items():
                    self.writer.add_scalar(f"{name}/{split}", value, event["epoch"])
            self.writer.add_scalar("lr", event["lr"], event["epoch"])
            self.writer.add_scalar("images_per_second", event["images_per_second"], event["epoch"])

    @distributed.only_first
    def _snapshot(self, logits: np.ndarray, epoch: int) -> None:
        self.snapshots[epoch] = logits[self.sample].astype(np.float16)
        epochs = sorted(self.snapshots)
        runs.write_npz(
            _there(self.run) / "snapshots.npz",
            epochs=np.array(epochs, np.int32),
            logits=np.stack([self.snapshots[e] for e in epochs]),
            labels=self.validation.labels[self.sample].astype(np.int16),
            index=self.validation.index[self.sample].astype(np.int32),
        )

    @distributed.only_first
    def _write_best(self) -> None:
        weights = {name: value.detach().contiguous().cpu() for name, value in evaluate.learnt(self.method).items()}
        content = save(weights, self.metadata(self.best_epoch))
        runs.in_one_step(_there(self.run) / "best.safetensors", lambda file: file.write(content))

    @distributed.only_first
    def _save(self) -> None:
        """The whole state, in one step: training from it is training that was never interrupted."""
        state = {
            "recipe": self.recipe.id,
            "images": self.digest,
            "epoch": self.epoch,
            "step": self.step,
            "counted": self.counted,
            "makings": self.makings,
            "sums": {name: torch.as_tensor(value) for name, value in self.sums.items()},
            "best": self.best,
            "best_epoch": self.best_epoch,
            "method": evaluate.learnt(self.method),
            "optimizers": {part: optimizer.state_dict() for part, optimizer in self.optimizers.items()},
            "generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        content = io.BytesIO()  # torch would hide why a file cannot be written
        torch.save(state, content)
        runs.in_one_step(_there(self.run) / "last.pt", lambda file: file.write(content.getbuffer()))

    def _load(self) -> None:
        file = self.run.path / "last.pt"
        if not file.exists():
            return
        try:
            records.opened(file).close()
            state = torch.load(file, map_location=self.device, weights_only=True)
            if state["recipe"] != self.recipe.id:
                raise ValueError(say("it belongs to {other}", other=state["recipe"]))
            if not datasets.fits(state.get("images"), self.digest):
                raise ValueError(say("it was trained on other images"))
            far = records.fitted({name: ({"makings": 0} | state)[name] for name in _Far.__annotations__}, _Far)
            if far["best_epoch"] > 0 and not evaluate.opens(self.run):
                return  # from the start: without the best weights what is left may bring no better ones
            evaluate.load_learnt(self.method, state["method"])
            for part, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][part])
            if not all(isinstance(name, str) and value.numel() == 1 for name, value in state["sums"].items()):
                raise ValueError(say("its sums are no numbers by name"))
            if far["epoch"] > self.total or far["step"] > self.batches.steps or far["counted"] != far["step"]:
                raise ValueError(say("its counters are not those of a run of {epochs} epochs", epochs=self.total))
            self.epoch, self.step, self.counted = far["epoch"], far["step"], far["counted"]
            self.makings = far["makings"]
            self.sums, self.best, self.best_epoch = state["sums"], far["best"], far["best_epoch"]
            torch.set_rng_state(state["generator"].cpu())
            if state["cuda_generator"] is not None and self.device.type == "cuda":
                torch.cuda.set_rng_state(state["cuda_generator"].cpu(), self.device)
        except Exception as error:  # whatever a damaged file makes torch.load say
            raise runs.Broken(say(
                "{file} cannot be gone on from ({error}). Delete it to train the run again from the start.",
                file=file, error=error,
            )) from error  # fmt: skip
        if stored := self.run.snapshots():
            pairs = zip(stored["epochs"].tolist(), stored["logits"], strict=True)
            self.snapshots = {epoch: logits for epoch, logits in pairs if epoch <= self.epoch}


class _Far(TypedDict):
    """How far a training is, in last.pt. best is infinite before the first epoch, best_epoch -1."""

    epoch: Count
    step: Count
    counted: Count
    makings: Count
    best: Curve
    best_epoch: Annotated[int, Within(-1, 10**12)]


def turn_of(begins: float, epochs: int) -> int:
    """The first epoch, from 0, of a method's last stage: that in whose beginning the share begins has passed."""
    return min(bisect_left(range(epochs), begins, key=lambda epoch: epoch / epochs), epochs - 1)


def rate_at(recipe: Recipe, epoch: float) -> float:
    """The learning rate after so many epochs, fractions included.

    "onecycle": up from a tenth over the first fifth of the epochs, then down to a thousandth along a cosine (Smith and
    Topin, 2019). "triangle": straight up from 0 over the first fifth, straight down to 0. "constant": lr. Whichever it
    is, the second stage, fine_epochs, is at lr / 10.
    """
    if epoch >= recipe.epochs:
        return recipe.lr / 10
    if recipe.schedule == "constant":
        return recipe.lr
    way, rise = epoch / recipe.epochs, 0.2
    if recipe.schedule == "triangle":
        return recipe.lr * min(way / rise, (1 - way) / (1 - rise))
    if way < rise:
        return recipe.lr * (0.1 + 0.9 * way / rise)
    return recipe.lr * (0.001 + 0.999 * (1 + math.cos(math.pi * (way - rise) / (1 - rise))) / 2)


def _check_or_write_record(run, recipe, trial, row, stats, digest, counts, validated_on) -> None:
    """recipe.json is written once; a run whose images or recipe have changed since does not go on."""
    if (run.path / "recipe.json").exists():
        if run.recipe != recipe or run.trial != trial:
            raise runs.Broken(
                say("{path} holds another recipe under this id. Move it away, or give another --runs.", path=run.path)
            )
        if changed := run.changed(digest, counts):
            then, now = changed
            raise ValueError(say(
                "The images of {dataset} have changed since {run} began, so it cannot go on. Then: {then}; now: {now}. "
                "Put the old images back, or train it anew on the new ones, which puts the old run into the trash:\n"
                "    {command} --again",
                dataset=recipe.dataset, run=run.id, then=then, now=now, command=evaluate.train_command(run),
            ))  # fmt: skip
        return
    if distributed.rank() == 0:
        record = record_of(recipe, trial, row, stats, digest, counts) | {"validated_on": validated_on}
        runs.write_json(run.path / "recipe.json", record)


def record_of(
    recipe: Recipe, trial: datasets.Trial, row: datasets.Dataset, stats: Stats, digest: str, counts: dict[str, int]
) -> dict[str, Any]:
    """What recipe.json holds: all that is needed to run it again, and to judge an image without the data set."""
    return {
        "recipe": recipe.to_json(),
        "classes": {"known": trial.known, "unknown": trial.unknown, "names": row.classes},
        "prepare": {"size": row.size, "grain": row.grain, "channels": row.channels, "flip": row.flip, "ink": row.ink},
        "mean": stats[0],
        "std": stats[1],
        "data": digest,
        "images": counts,
        "versions": {"python": platform.python_version(), **{p: metadata.version(p) for p in ("torch", "numpy")}},
        "commit": _commit(),
    }


def machine(device: torch.device) -> str:
    """What trains: the card, or the processor with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {torch.get_num_threads()} threads"


def _commit() -> str | None:
    """The commit that the code is at, where it is a git checkout."""
    git = Path(__file__).parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        return (git / head.removeprefix("ref: ")).read_text().strip()[:12] if head.startswith("ref: ") else head[:12]
    except OSError:
        return None


@distributed.only_first
def _set_status(run: Run, state: str, final: bool = False, **more: Any) -> None:
    """A finished run forgets which process made it."""
    old = {k: v for k, v in run.status.items() if k not in {"state", "reason"}}
    if final:
        old = {k: v for k, v in old.items() if k in {"started", "device", "machine"}}
    now = round(time.time(), 3)
    runs.write_json(_there(run) / "status.json", {"started": now, **old, **more, "state": state, "changed": now})


def _there(run: Run) -> Path:
    """The run's folder; raises FileNotFoundError where somebody has removed it, which writing must not undo."""
    if not run.path.exists():
        raise FileNotFoundError(say(
            "{path} was removed while it was being trained, so nothing of it is left. Train it again to have it anew.",
            path=run.path,
        ))  # fmt: skip
    return run.path


def _try_status(run: Run, state: str, **more: Any) -> None:
    # the disk that made training fail may be too full for this too; the error itself still reaches the user
    with contextlib.suppress(OSError):
        _set_status(run, state, **more)


def _memory(device: torch.device) -> int:
    """Bytes: the most that was in use on a card so far, what this process holds on a processor."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return psutil.Process().memory_info().rss


def cause(error: Exception, recipe: Recipe) -> str:
    """What went wrong and what to try, for people."""
    text = str(error)
    if reason := distributed.lost(error):
        return reason
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        return say(
            "Out of memory: {error} Try a smaller batch (--batch {batch}).",
            error=text.splitlines()[0], batch=max(recipe.batch // 2, 2),
        )  # fmt: skip
    if isinstance(error, OSError) and error.errno is not None:
        return say(
            "Cannot write: {error} ({file}). Free some space, or give another --runs.",
            error=error.strerror, file=error.filename,
        )  # fmt: skip
    return text or type(error).__name__


def _tensorboard(path: Path):
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(path / "tensorboard"))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """While open, torch computes with so many: steps of a head alone are too small to be shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _signals:
    """While open, SIGTERM and SIGINT ask to stop after the batch instead of ending the process."""

    def __init__(self, stop: threading.Event):
        self.stop, self.old = stop, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGTERM, signal.SIGINT):
                self.old[name] = signal.signal(name, lambda *_: self.stop.set())

    def __exit__(self, *_):
        for name, handler in self.old.items():
            signal.signal(name, handler)
