"""New run: what to train and how, what it will take, and the button that puts it into the queue."""

import dataclasses
import os
import shutil

import psutil
import streamlit as st

from app import shared, training
from app.words import phrases, t
from cac_core import data, recipe
from cac_core.recipe import Recipe
from cac_core.runs import Run

PRESETS = phrases({"quick": "Quick look", "paper": "Paper", "report": "The report's EfficientNets"})
ABOUT = phrases(
    {
        "quick": "One cycle of the learning rate and few epochs: most of the result in a small part of the time.",
        "paper": "The network and schedule published with Class Anchor Clustering (Miller et al., WACV 2021).",
        "report": "The EfficientNet that a report on ODIN with class anchors took for this data set, on CAC's "
        "schedule.",
    }
)
FIELDS = phrases(
    {  # of Recipe, in the order of the form: label and what it means
        "epochs": ("Epochs", "How often every training image is seen."),
        "fine_epochs": ("Fine epochs", "More epochs at a tenth of the learning rate, from the best epoch on."),
        "schedule": ("Schedule", "onecycle: up, then down along a cosine. constant: the same rate all the time."),
        "lr": ("Learning rate", "The peak of one cycle, or the constant rate."),
        "batch": ("Batch", "Images a step. Smaller needs less memory."),
        "momentum": ("Momentum", "Of stochastic gradient descent."),
        "decay": ("Weight decay", "Pulls all weights towards zero."),
        "precision": ("Precision", "auto: half precision where the device is fast at it."),
        "size": ("Image side, pixels", "0 is the data set's own."),
        "trunk_rate": ("Backbone's rate, times", "Below 1 to change a pretrained backbone slowly."),
    }
)
CHOICES = {"schedule": recipe.SCHEDULES, "precision": recipe.PRECISIONS}
FEWEST = {"epochs": 1, "fine_epochs": 0, "batch": 2, "size": 0}

st.markdown(
    t(
        "A run trains one network on one trial. Choose what to train; the rest is set by the preset and can be changed "
        "below. It goes into a queue and is trained by a process of its own, also when this page is closed."
    )
)


def page():
    shelves = training.shelves()
    here = {shelf.name: not shelf.missing for shelf in shelves}
    preset_box, dataset_box = st.columns([3, 2])
    name = dataset_box.selectbox(
        t("Data set"), sorted(here, key=lambda n: not here[n]), key="new_dataset", persist_state="session",
        format_func=lambda n: n if here[n] else t("{name} (not here yet)", name=n),
    )  # fmt: skip
    presets = [p for p in PRESETS if p != "report" or f"report-{name.lower()}" in recipe.PRESETS]
    if st.session_state.get("new_preset") not in presets:
        st.session_state.pop("new_preset", None)
    with preset_box:
        preset = st.segmented_control(
            t("Preset"), presets, default="quick", required=True, format_func=lambda p: t(PRESETS[p]), key="new_preset",
            persist_state="session",
        )  # fmt: skip
        st.caption(t(ABOUT[preset]))
    preset = f"report-{name.lower()}" if preset == "report" else preset
    if not here[name]:
        missing(name)
        return
    trials = choose_trials(name)
    chosen = choose_networks(preset, name)
    plan = choose_plan(preset, name, trials, *chosen) if trials and chosen else None
    if plan:
        summary(preset, *plan)


def missing(name: str):
    st.warning(t("The images of {name} are not here.", name=shared.plain(name)), icon=":material/cloud_off:")
    st.page_link("app/data_page.py", label=t("Download them under Data and trials"), icon=":material/database:")
    st.caption(t("The data set digits is always here and needs no internet."))


def choose_trials(name: str) -> list[data.Trial]:
    there = training.published(name) | training.kept(name)
    if not there:
        st.info(
            t("No trials are published for {name}: choose known and unknown classes first.", name=shared.plain(name)),
            icon=":material/info:",
        )
        st.page_link("app/data_page.py", label=t("To the trial editor"), icon=":material/edit:")
        return []
    keys = st.multiselect(
        t("Trials, one or several"), list(there), default=[next(iter(there))], format_func=training.trial_name,
        key=f"new_trials_{name}", persist_state="session",
    )  # fmt: skip
    if not keys:
        st.error(t("Choose at least one trial."))
    row = training.row(name)
    for key in keys[:3]:
        trial = there[key]
        known, unknown = (shared.listed([row.classes[c] for c in some]) for some in (trial.known, trial.unknown))
        st.caption(t("**{trial}**: knows {known}; never sees {unknown}", trial=shared.plain(training.trial_name(key)),
                     known=known, unknown=unknown or t("nothing")))  # fmt: skip
    return [there[key] for key in keys]


def choose_networks(preset: str, name: str) -> tuple[list[str], str] | None:
    base = recipe.compose(preset, dataset=name)
    left, right = st.columns(2)
    methods = left.multiselect(
        t("Methods, one or several"), list(recipe.METHODS), default=[base.method], key="new_methods",
        persist_state="session",
    )  # fmt: skip
    every = list(recipe.BACKBONES)
    backbone = right.selectbox(
        t("Backbone"), every, every.index(base.backbone), key=f"new_backbone_{preset}_{name}", persist_state="session",
        help=t("The network below the logits."),
    )  # fmt: skip
    if not methods:
        left.error(t("Choose at least one method."))
        return None
    return methods, backbone


def choose_plan(preset: str, name: str, trials: list[data.Trial], methods: list[str], backbone: str):
    """Everything that is folded, and what comes of it: the recipes, the trial of each, and the device."""
    base = recipe.compose(preset, dataset=name, backbone=backbone)
    mark = f"{preset}_{name}_{backbone}"  # other defaults are other widgets
    axes: dict[str, dict] = {}
    wrong = False
    with st.expander(
        t("Seeds and options of the methods: several values make several runs"), icon=":material/grid_on:"
    ):
        columns = st.columns(3)
        seeds, bad = values(columns[0], t("Seeds"), "0", int, f"new_seeds_{mark}", t("0-4 is five seeds."))
        wrong |= bad
        place = 1
        for method in methods:
            axes[method] = {}
            for option, default in recipe.method_options(method).items():
                kind = type(default) if isinstance(default, int | float) and not isinstance(default, bool) else None
                column = columns[place % 3]
                if kind:
                    key = f"new_{method}_{option}_{mark}"
                    axes[method][option], bad = values(column, f"{method}: {option}", f"{default:g}", kind, key)
                    wrong |= bad
                else:
                    axes[method][option] = [one_value(column, f"{method}: {option}", default, f"new_{option}_{mark}")]
                place += 1
    trunk = {}
    with st.expander(t("Training and backbone"), icon=":material/tune:"):
        given = fields(base, mark)
        if options := recipe.backbone_options(backbone):
            st.caption(t("Options of {backbone}", backbone=shared.plain(backbone)))
            columns = st.columns(3)
            for n, (option, default) in enumerate(options.items()):
                now = base.trunk.get(option, default)
                trunk[option] = one_value(columns[n % 3], option, now, f"new_trunk_{option}_{mark}")
    device = choose_device()
    if wrong:
        return None
    try:
        every = training.product(preset, given | {"backbone": backbone}, trials, methods, seeds, axes, trunk)
    except ValueError as error:
        st.error(shared.plain(str(error)), icon=":material/error:")
        return None
    row = training.row(name)
    return every, {one.id: data.trial_of(one, row) for one in every}, device


def values(place, label: str, default: str, kind: type, key: str, help: str | None = None) -> tuple[list, bool]:
    """One or several numbers, and whether what was written is none; that is said beside the field."""
    said = place.text_input(label, default, key=key, persist_state="session", help=help)
    try:
        return training.numbers(said, kind), False
    except ValueError as error:
        place.error(shared.plain(str(error)))
        return [], True


def one_value(place, label: str, default, key: str):
    if isinstance(default, bool):
        return place.toggle(label, default, key=key, persist_state="session")
    if isinstance(default, int):
        return place.number_input(label, 0, None, default, 1, key=key, persist_state="session")
    if isinstance(default, float):
        return place.number_input(label, 0.0, None, default, format="%g", key=key, persist_state="session")
    return place.text_input(label, default, key=key, persist_state="session")


def fields(base: Recipe, mark: str) -> dict:
    """Recipe's own fields, one widget each, by its type."""
    given, columns = {}, st.columns(3)
    kinds = {field.name: field.type for field in dataclasses.fields(Recipe)}
    for n, (name, (label, meaning)) in enumerate(FIELDS.items()):
        now, key, place = getattr(base, name), f"new_{name}_{mark}", columns[n % 3]
        if name in CHOICES:
            given[name] = place.selectbox(t(label), CHOICES[name], CHOICES[name].index(now), key=key, help=t(meaning),
                                          persist_state="session")  # fmt: skip
        elif kinds[name] is int:
            given[name] = place.number_input(t(label), FEWEST[name], None, now, 1, key=key, help=t(meaning),
                                             persist_state="session")  # fmt: skip
        else:
            step = 0.1 if name in ("momentum", "trunk_rate") else float(f"{max(now, 1e-6) / 10:.1g}")
            given[name] = place.number_input(t(label), 0.0, None, now, step, format="%g", key=key, help=t(meaning),
                                             persist_state="session")  # fmt: skip
    return given


def choose_device() -> str:
    busy = {job.device for job in training.launch.jobs(training.store()) if training.going(job)}

    def said(device: str) -> str:
        what = t("processor") if device == "cpu" else t("graphics card {n}", n=device.partition(":")[2])
        return f"{what} ({device}), {t('busy: it waits its turn') if device in busy else t('free')}"

    there = training.devices()
    return st.selectbox(
        t("Device"), there, int(len(there) > 1), format_func=said, key="new_device", persist_state="session"
    )


def summary(preset: str, every: list[Recipe], trials: dict[str, data.Trial], device: str):
    states = {
        one.id: Run(training.store() / one.id).state if (training.store() / one.id).exists() else "" for one in every
    }
    queued = {job.run for job in training.launch.jobs(training.store()) if job.kind == "train" and training.going(job)}
    fresh = [one for one in every if states[one.id] != "finished" and one.id not in queued]
    first = every[0]
    with st.container(border=True):
        st.markdown(f"**{in_words(first, trials[first.id], len(every))}**")
        st.markdown(cost(fresh, trials, device))
        done, under_way = (sum(states[one.id] == "finished" for one in every), sum(one.id in queued for one in every))
        if done:
            st.caption(t("Finished already, and not trained again: {n}.", n=done))
        if under_way:
            st.caption(t("In the queue already: {n}.", n=under_way))
        with st.container(horizontal=True, vertical_alignment="center"):
            if shared.read_only():
                st.info(t("Here one can look at everything and change nothing."), icon=":material/lock:")
            else:
                label = t("Start") if len(fresh) <= 1 else t("Start {n} runs", n=len(fresh))
                st.button(label, type="primary", icon=":material/play_arrow:", key="new_start", on_click=start,
                          args=(fresh, device), disabled=not fresh)  # fmt: skip
            if under_way or done:
                st.page_link("app/live_runs.py", label=t("Watch them under Live"), icon=":material/monitoring:")
    if said := st.session_state.pop("new_said", None):
        if isinstance(said, Exception):
            shared.explain(said)
        else:
            st.success(said, icon=":material/check:")
    with st.expander(t("The same from the command line"), icon=":material/terminal:", expanded=len(every) == 1):
        st.code("\n".join(training.command(preset, one) for one in every), language="bash", wrap_lines=True)
    if len(every) > 1:
        with st.expander(t("All {n} runs", n=len(every)), icon=":material/list:"):
            st.dataframe(
                {
                    t("run"): [one.id for one in every],
                    t("trial"): [training.trial_name((one.family, one.trial)) for one in every],
                    t("method"): [one.method for one in every],
                    t("options"): [", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in
                                   (recipe.method_options(one.method) | one.hyper).items()) for one in every],
                    t("seed"): [one.seed for one in every],
                    t("state"): [t("queued") if one.id in queued else t(states[one.id] or "new") for one in every],
                },
                hide_index=True,
            )  # fmt: skip


def in_words(one: Recipe, trial: data.Trial, count: int) -> str:
    total = one.epochs + one.fine_epochs
    words = t(
        "{method} with the {backbone} network learns {known} classes of {dataset} in {epochs} epochs of batches of "
        "{batch}",
        method=shared.plain(one.method), backbone=shared.plain(one.backbone), known=len(trial.known),
        dataset=shared.plain(one.dataset), epochs=total, batch=one.batch,
    )  # fmt: skip
    tested = t("and is tested on {n} that it has never seen.", n=len(trial.unknown)) if trial.unknown else t(
        "and is tested without any unknown class."
    )  # fmt: skip
    return f"{words} {tested}" + (" " + t("{n} runs in all; this is the first.", n=count) if count > 1 else "")


def cost(fresh: list[Recipe], trials: dict[str, data.Trial], device: str) -> str:
    """What is left to train takes this long and this much, as far as a finished run tells."""
    told = training.estimate(fresh, trials, device) if fresh else None
    free = shutil.disk_usage(next(p for p in (training.store(), *training.store().parents) if p.exists())).free
    memory = psutil.virtual_memory()
    machine = t(
        "Free here: {disk} of disk, {memory} of memory, {cores} processor cores.", disk=training.megabytes(free),
        memory=training.megabytes(memory.available), cores=os.cpu_count(),
    )  # fmt: skip
    if not fresh:
        return machine
    if told is None:
        return t("No estimate yet: no finished run with this data set, backbone and device tells how long an epoch "
                 "takes. The first epoch will tell, under Live.") + f" {machine}"  # fmt: skip
    seconds, size, by = told
    where = t("as measured on this machine") if by.here else t("if this machine is like the one that trained it")
    return (
        t("About **{time}** and {disk} of disk, by the epochs of {run}, {where}; the evaluation at the end comes on "
          "top.",
          time=training.span(seconds), disk=training.megabytes(size), run=shared.plain(by.run), where=where)
        + f" {machine}"
    )  # fmt: skip


def start(every: list[Recipe], device: str):
    if shared.read_only():
        return
    try:
        count = training.start(every, device)
        st.session_state.new_said = t("{n} in the queue now. Watch under Live.", n=count)
    except (ValueError, OSError) as error:
        st.session_state.new_said = error


with shared.explained():
    page()
