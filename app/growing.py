"""A data set of one's own that grows by what a run has rejected: images that come in, the trial that knows them, the
new run that is set up as the one before, and which run that was."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import address, holdings, jobs, results, wording
from app.words import t
from cac_core import recipe, runs
from cac_core.data import datasets, images
from cac_core.data.datasets import Trial
from cac_core.exchange import changes, own_data
from cac_core.files import is_folder
from cac_core.recipe import Recipe
from cac_core.results import compare
from cac_core.runs import Broken, Run

LEAST = 3  # images of a class: to learn from, to validate and to test on
NAMED = {"dataset", "family", "trial", "method", "backbone", "hyper", "trunk", "known", "unknown"}  # said otherwise
FORMS = ("quick", "standard", "fast", "paper", "photos")  # presets that a run may be set up as


@dataclass(frozen=True)
class Grown:
    """What has come of images that were to be added: how many went where, what was refused and why; by what words the
    change can be taken back; and of the run that they were shown to, the trial that knows the class, or why there is
    none."""

    dataset: str
    cls: str
    added: changes.Added
    refused: tuple[tuple[str, str], ...]
    run: str = ""
    trial: str = ""
    why: str = ""
    words: str = ""


def takes_images(run: Run) -> bool:
    """Whether images may be added to the data set of this run: one of one's own that is here, and no show."""
    name = run.recipe.dataset
    return not jobs.read_only() and name not in datasets.DATASETS and is_folder(holdings.root() / name)


def add(name: str, cls: str, brought: list[tuple[str, bytes]], run: Run | None = None) -> Grown:
    """Put pictures into a class of a data set, checked as uploads are; run: who is to know the class from now on.

    Raises ValueError where none can be taken.
    """
    cls = own_data.class_name(cls)
    upload = own_data.of_one_class(cls, [(with_ending(file), content) for file, content in brought])
    found = own_data.check(upload)
    added = changes.add(
        holdings.root(), name, cls, ((one.ending, upload.read(one.place)) for one in found.pictures)
    )  # fmt: skip
    holdings.look_again()
    words = changes.last(holdings.root(), name) if added.count else ""
    done = Grown(name, cls, added, found.refused, words=words)
    if run is None:
        return done
    try:
        return dataclasses.replace(done, run=run.id, trial=extended(run, cls).index)
    except ValueError as error:
        return dataclasses.replace(done, run=run.id, why=error.args[0])


def with_ending(file: str) -> str:
    """A picture that was photographed or pasted has a name without one; of what kind it is its content says."""
    known = (*images.ENDINGS, *images.FOREIGN, ".zip")
    return file if file.lower().endswith(known) else f"{file}.png"


def extended(run: Run, cls: str) -> Trial:
    """The run's trial on the data set as it is now, with this class among the known; kept under a name of its own.

    Raises ValueError where classes of the run are not there any more.
    """
    row, name = holdings.row(run.recipe.dataset), run.recipe.dataset
    known = [*run.known_names, *([cls] if cls not in run.known_names else [])]
    unknown = [run.class_names[c] for c in run.trial.unknown if run.class_names[c] not in known]
    if gone := [one for one in (*known, *unknown) if one not in row.classes]:
        raise ValueError(t("Of the classes of this run there are no more in {dataset}: {names}.", dataset=name,
                           names=wording.listed(gone)))  # fmt: skip
    numbers = [tuple(sorted(row.classes.index(one) for one in some)) for some in (known, unknown)]
    trial = Trial(name, "custom", run.recipe.trial, *numbers)
    never = datasets.never_learnt(name, holdings.root())
    own_data.never_learn(holdings.root(), name, [one for one in never if one not in known])
    taken = {row.trial for row in results.rows(jobs.store()) if row.dataset == name}
    for (_, index), kept in holdings.kept(name).items():  # made before, and not trained on yet
        if (kept.known, kept.unknown) == (trial.known, trial.unknown) and index not in taken:
            return kept
    trial = dataclasses.replace(trial, index=own_data.free_trial_name(holdings.root(), run.recipe.trial))
    own_data.save_trial(datasets.checked_trial(trial, row), row, holdings.root())
    return trial


def form(given: Recipe, trial: str) -> dict[str, str]:
    """What the address of New run says to train as this recipe on another trial of its data set."""
    bases = {name: compare.flat(recipe.compose(name, dataset=given.dataset)) for name in FORMS}
    mine = compare.flat(given)
    unlike = {name: sum(base.get(one) != value for one, value in mine.items()) for name, base in bases.items()}
    options = recipe.method_options(given.method) | given.hyper
    trunk = recipe.backbone_options(given.backbone) | given.trunk
    said = {"new_dataset": given.dataset, "new_trials": f"custom/{trial}", "new_preset": min(unlike, key=unlike.get),
            "new_methods": given.method, "new_backbone": given.backbone}  # fmt: skip
    fields = {field.name for field in dataclasses.fields(Recipe)} - NAMED
    values = {f"new_{name}": getattr(given, name) for name in sorted(fields)}
    values |= {f"new_{given.method}_{name}": value for name, value in options.items()}
    values |= {f"new_trunk_{name}": value for name, value in trunk.items()}
    return said | {name: written(value) for name, value in values.items()}


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def before(run: Run) -> Run | None:
    """The run before this one on its data set of one's own, of other images or another trial: the last one that
    finished, of the same method and network where there is one."""
    if run.recipe.dataset in datasets.DATASETS:
        return None
    mine, found = (run.recipe, run.record), []
    for row in results.rows(jobs.store()):
        if row.dataset != mine[0].dataset or row.problem or row.run.id == run.id or not row.run.written:
            continue
        try:
            started, record = float(row.run.status.get("started", 0.0)), row.run.record
        except Broken:
            continue
        apart = record.get("data") != mine[1].get("data") or record["classes"] != mine[1]["classes"]
        if apart and started <= float(run.status.get("started", 0.0)):
            alike = (row.method, row.backbone) == (mine[0].method, mine[0].backbone)
            found.append((alike, started, row.run.id, row.run))
    return max(found)[-1] if found else None


def compared(run: Run) -> None:
    """A link to Compare with the run before, where there is one."""
    if (other := before(run)) is not None:
        said = {"ids": f"{other.id},{run.id}", "compare_together": "false"}
        address.link("compare", t("Compare with the run before"), "compare_arrows", said)


# --- as pages say it -------------------------------------------------------------------------------------------------


def told(grown: Grown) -> None:
    """What came of it, in words."""
    added, cls = grown.added, wording.plain(grown.cls)
    said = t("{n} images added to {name}.", n=added.count, name=cls) if added.count else t("Nothing was added.")
    if added.there:
        said += " " + t("{n} were in {name} already.", n=added.there, name=cls)
    for other, count in added.elsewhere.items():
        said += " " + t("{n} lie in {name}: move them under Look through, if they belong elsewhere.", n=count,
                        name=wording.plain(other))  # fmt: skip
    if added.count:
        st.success(said, icon=":material/check:")
    else:
        st.warning(said, icon=":material/info:")
    wording.refused((Path(name).name, why) for name, why in grown.refused)
    if training := under_way(grown.dataset):
        st.caption(t("{run} is being trained: it keeps to the images that it began with, and is said to be of these.",
                     run=wording.listed(training)))  # fmt: skip


def under_way(name: str) -> list[str]:
    """The runs on a data set that are being trained."""
    return [row.run.id for row in results.rows(jobs.store()) if row.dataset == name and row.state in runs.ALIVE]


def undo(grown: Grown, key: str) -> None:
    """A button that takes it back, as long as nothing else has changed since."""
    if grown.words and changes.last(holdings.root(), grown.dataset) == grown.words:
        what = t("Undo: {what}", what=wording.said(grown.words))
        st.button(what, icon=":material/undo:", key=key, on_click=take_back, args=(grown,))


def take_back(grown: Grown) -> None:
    if jobs.read_only():
        return
    try:
        changes.undo(holdings.root(), grown.dataset)
        if grown.trial:
            (holdings.root() / own_data.TRIALS / f"{grown.trial}.json").unlink(missing_ok=True)
        holdings.look_again()
        st.session_state.try_grown = None
    except (ValueError, OSError) as error:
        st.session_state.try_grown = error
