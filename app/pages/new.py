"""New run: what to train and how, what it will take, and the button that puts it into the queue."""

import contextlib
import os
import shutil
from collections.abc import Callable
from typing import Any

import psutil
import streamlit as st

from app import address, holdings, jobs, links, made, plans, wording
from app.words import phrases, t
from cac_core import recipe
from cac_core.data import datasets
from cac_core.files import is_folder
from cac_core.jobs import clusters, launch
from cac_core.jobs.engines import USUAL, Needs, Slots
from cac_core.recipe import Recipe
from cac_core.runs import Run
from cac_core.training import probe

PRESETS = phrases(
    {
        "quick": "Quick look",
        "standard": "Standard",
        "fast": "Fast",
        "paper": "Paper",
        "photos": "Photos",
        "report": "The report's EfficientNets",
    }
)
ABOUT = phrases(
    {
        "quick": "One cycle of the learning rate and few epochs: most of the result in a small part of the time.",
        "standard": "The paper's network and one cycle of the learning rate, over half of the paper's epochs: meant "
        "to come near the published results in half the time.",
        "fast": "A network and a schedule of our own time, for images of 16 to 64 pixels: stronger than the paper's "
        "network, in less time.",
        "paper": "The network and schedule published with Class Anchor Clustering (Miller et al., WACV 2021).",
        "photos": "A network that has seen ImageNet, and a head that learns your classes: for photos, also where there "
        "are few of them.",
        "report": "The EfficientNet that a report on ODIN with class anchors took for this data set, on CAC's "
        "schedule.",
    }
)
DIGITS = phrases(  # for which nothing is published
    {
        "standard": "The small network and one cycle of the learning rate, over three times as many epochs as the "
        "quick look.",
        "paper": "The small network, and the schedule that was published with Class Anchor Clustering for MNIST.",
    }
)
METHODS = phrases(
    {
        "cac": "**cac**: Class Anchor Clustering, logits gather around a fixed anchor for each class (Miller et al., "
        "WACV 2021). Rejected by γ.",
        "cross_entropy": "**cross_entropy**: softmax cross-entropy, the control of all others. Rejected by 1 − "
        "softmax.",
        "supcon": "**supcon**: two views of images of one class are drawn together on a sphere (Khosla et al., NeurIPS "
        "2020). Rejected by the k-th nearest training image. Photographs want the augmentation colour.",
        "cider": "**cider**: on a sphere, each image close to its class's prototype, prototypes far apart (Ming et "
        "al., ICLR 2023). Rejected by the k-th nearest training image. Photographs want the augmentation colour.",
        "vos": "**vos**: unlikely draws from each class's features stand in for unknowns (Du et al., ICLR 2022). "
        "Rejected by energy.",
        "proser": "**proser**: a dummy class learns what lies between the known ones (Zhou et al., CVPR 2021). "
        "Rejected by how far the dummy is above them.",
        "crosr": "**crosr**: the network also rebuilds the image from narrow latents at each stage (Yoshihashi et al., "
        "CVPR 2019). Rejected by OpenMax on logits and latents.",
        "osrci": "**osrci**: counterfactual images, just far enough from real ones to be of no class, become a class "
        "of their own (Neal et al., ECCV 2018). Rejected by how far its share is above the largest known one. Takes "
        "several times as long.",
        "g_openmax": "**g_openmax**: mixtures of two classes that the classifier is unsure of become a class of their "
        "own (Ge et al., BMVC 2017). Rejected by how far its share is above the largest known one. Takes several times "
        "as long.",
    }
)
OPTIONS = phrases(
    {  # of methods and backbones, with the method's name where one option means another thing in it
        "alpha": "How far each class's anchor lies from the origin.",
        "lam": "The weight of the pull to the class's own anchor.",
        "cider lam": "The weight of drawing images to their prototypes, beside pushing prototypes apart.",
        "smoothing": "The share of each label that is spread over all classes; 0 is none.",
        "temperature": "What similarities are divided by. The smaller, the more the hardest pairs count.",
        "projection": "How many numbers the vector has in which images are compared.",
        "ema": "The share of a prototype that stays with each image of its class: near 1 it moves slowly.",
        "vos weight": "The weight of telling images from virtual outliers; 0 is cross-entropy on pooled features.",
        "crosr weight": "The weight of rebuilding the image; 0 is cross-entropy, and nothing is rebuilt.",
        "queue": "Of so many of its last features each class's Gaussian is made.",
        "draws": "Of so many draws of each class the least likely one is its virtual outlier.",
        "start": "The share of the training after which what is new begins; until then known classes alone are learnt.",
        "dummies": "How many dummy logits stand for what is unknown; the largest of them counts.",
        "placeholder": "The weight of making the dummy come second for images of known classes.",
        "mixed": "The weight of mixed images being the dummy's.",
        "mixup": "How images are mixed: 1 is any share alike, more is nearer to half and half (Beta distribution).",
        "mixing": "apart: images of different classes alone, as in the paper. all: any two, as in the released code.",
        "crosr latent": "How many channels the bottleneck of each stage has.",
        "latent": "How many channels of numbers the generator paints an image from.",
        "images": "made: what the generator made. noise and none are controls: noise in its place, or no image at all.",
        "count": "How many images are made for the class of unknowns.",
        "walk": "The steps of the search from a real image.",
        "speed": "How far a step of the search goes.",
        "distance": "The weight that keeps the search near the image that it began from.",
        "search": "paper: each image is sought by itself. released: as the published code does it, all of a batch "
        "together.",
        "gan": "paper: the critic compares real images and rebuilt ones. released: as the published code trains it.",
        "reconstruction": "The weight of rebuilding an image, beside looking real to the critic.",
        "maps": "How wide encoder, generator and critic are; more takes longer.",
        "unsure": "A mixture is kept where no known class has this share or more.",
        "blend": "paper: of different classes, judged by K + 1 classes. released: as the published code does it, of "
        "any two.",
        "dropout": "The share of channels that training leaves out each time.",
        "widen": "How many times as many channels.",
        "input_size": "Pixels of a side, to which images are brought first.",
        "pretrained": "Begin with weights that were trained on other images, which are downloaded once.",
        "thaw": "How many of the last stages learn, too; 0 is the head alone, which takes seconds.",
        "crops": "How many random crops of each image are computed, besides the whole.",
        "stem": "How images enter. small: every pixel is looked at, so that little is lost of small images. "
        "original: as published. auto: small below 96 pixels.",
    }
)
FIELDS = phrases(
    {  # of Recipe, in the order of the form: label and what it means
        "epochs": ("Epochs", "How often every training image is seen."),
        "fine_epochs": ("Fine epochs", "More epochs at a tenth of the learning rate, from the best epoch on."),
        "schedule": (
            "Schedule",
            "onecycle: up, then down along a cosine. triangle: straight up, straight down to 0. constant: the same "
            "rate all the time.",
        ),
        "lr": ("Learning rate", "The peak of one cycle, or the constant rate."),
        "batch": ("Batch", "Images a step. Smaller needs less memory."),
        "momentum": ("Momentum", "Of stochastic gradient descent."),
        "decay": ("Weight decay", "Pulls weights towards zero."),
        "optimizer": ("Optimizer", "sgd: stochastic gradient descent. nesterov: with its momentum, which looks ahead."),
        "decays": ("What decays", "all: every parameter. weights: none of the biases and of batch norm."),
        "augment": (
            "Augmentation",
            "How training changes an image. affine: crops, mirror images and rotations. shift: by whole pixels, and "
            "mirrored every other time. randaugment: one small change more, drawn of fourteen. colour: as affine, and "
            "colours jittered or taken away.",
        ),
        "cutout": (
            "Cut-out, pixels",
            "The side of a square that each image loses in training, with shift and randaugment; 0 is none.",
        ),
        "tta": (
            "Judged with",
            "none: the image alone. mirror: the mean of the logits of the image and of its mirror image, which takes "
            "twice as long.",
        ),
        "precision": ("Precision", "auto: half precision where the device is fast at it."),
        "held_out": (
            "Held out",
            "The share of the known training images that is validation: it chooses the best epoch, and θ.",
        ),
        "divide": (
            "Divided by",
            "The seed that draws the held-out images, so that runs of several seeds hold out the same and can become "
            "an ensemble; -1 is each run's own seed.",
        ),
        "steps": (
            "Steps, at least",
            "However few the images: they are gone through more often, in batches of a quarter of them at most.",
        ),
        "folds": (
            "Folds",
            "In place of held-out images: every image is validated by a head that has not learnt from its fold. For "
            "efficientnet-lite with thaw 0.",
        ),
        "size": ("Image side, pixels", "0 is the data set's own."),
        "begun_with": (
            "Begin with",
            "The id of a run of the same trial, images and backbone, whose weights training starts from; empty: random "
            "ones.",
        ),
        "trunk_rate": ("Backbone's rate, times", "Below 1 to change a pretrained backbone slowly."),
    }
)
LONG = 200  # characters of a text field
LIMIT = 300  # seconds that a probe may take: the largest networks need minutes on a processor

st.markdown(
    t(
        "A run trains one network on one trial. Choose what to train; the rest is set by the preset and can be changed "
        "below. It goes into a queue and is trained by a process of its own, also when this page is closed."
    )
)


# what a link asks for, until every field has heard of it; and the fields: name in the address -> key, default
asked = st.session_state.setdefault("new_asked", {})
asked |= links.brought("new_")
shown: dict[str, tuple[str, Any]] = {}


def field(name: str, key: str, default: Any, read: Callable[[str], Any], always: bool = False) -> str:
    """The key of a field, which stands in the address where it is not at its default; always: wherever it is at.

    As one comes by a link it is set to what that says, or to its default, whatever was set here before.
    """
    shown[name] = key, None if always else default
    if asked:
        st.session_state[key] = default
        with contextlib.suppress(ValueError):
            if name in asked:
                st.session_state[key] = read(asked[name])
    return key


def text(said: str) -> str:
    if len(said) > LONG:
        raise ValueError
    return said


def several_of(choices: dict[str, Any]) -> Callable[[str], list]:
    def read(said: str) -> list:
        if found := [choices[name] for name in links.several(said) if name in choices]:
            return found
        raise ValueError

    return read


def number(kind: type) -> Callable[[str], Any]:
    def read(said: str):
        if abs(value := kind(said)) < 1e15:  # what a browser holds exactly
            return value
        raise ValueError

    return read


def write_link():
    """Puts the form into the address, and takes out what it has no field for now."""
    said = {name: st.session_state.get(key) for name, (key, _) in shown.items()}
    if "new_trials" in said:
        said["new_trials"] = ["/".join(key) for key in said["new_trials"]]
    gone = dict.fromkeys(st.session_state.get("new_named", set()) - shown.keys())
    st.session_state.new_named = set(shown)
    links.put_in_link({name: (str, default) for name, (_, default) in shown.items()}, said, **gone)


def page():
    shelves = holdings.shelves()
    here = {shelf.name: not shelf.missing for shelf in shelves}
    preset_box, dataset_box = st.columns([3, 2])
    every = sorted(here, key=lambda n: not here[n])
    name = dataset_box.selectbox(
        t("Data set"), every, persist_state="session",
        key=field("new_dataset", "new_dataset", every[0], links.one_of(*every), always=True),
        on_change=other_data_set, format_func=lambda n: n if here[n] else t("{name} (not here yet)", name=n),
    )  # fmt: skip
    presets = [p for p in PRESETS if p != "report" or f"report-{name.lower()}" in recipe.PRESETS]
    usual = usual_preset(name)
    field("new_preset", "new_preset", usual, links.one_of(*presets))
    st.session_state.new_dataset_was = name
    if st.session_state.get("new_preset") not in presets:
        st.session_state.pop("new_preset", None)
    with preset_box:
        preset = st.segmented_control(
            t("Preset"), presets, default=usual, required=True, format_func=lambda p: t(PRESETS[p]), key="new_preset",
            persist_state="session", wrap=True,
        )  # fmt: skip
        st.caption(about(preset, name))
    preset = f"report-{name.lower()}" if preset == "report" else preset
    if not here[name]:
        keep_probe(None)
        missing(name)
        return
    trials = choose_trials(name)
    images = holdings.fewest(name, trials[0]) if trials and preset in recipe.COUNTED else 0
    chosen = choose_networks(preset, name, images)
    plan = choose_plan(preset, name, trials, images, *chosen) if trials and chosen else None
    if plan:
        summary(preset, *plan)
    else:
        keep_probe(None)


def usual_preset(name: str) -> str:
    """An image folder is of photos, as a rule."""
    return "quick" if name in datasets.DATASETS else "photos"


def other_data_set():
    """A preset that nobody has chosen goes with the data set."""
    state = st.session_state
    if state.get("new_preset") == usual_preset(state.get("new_dataset_was", state.new_dataset)):
        state.new_preset = usual_preset(state.new_dataset)


def about(preset: str, name: str) -> str:
    """What a preset is on a data set: the paper covers some."""
    if name == "digits" and preset in DIGITS:
        return t(DIGITS[preset])
    words = t(ABOUT[preset])
    if preset in ("standard", "paper") and name not in (*recipe.PAPER, "digits"):
        words += " " + t("Nothing is published for {name}: it is trained as CIFAR10 is.", name=wording.plain(name))
    return words


def missing(name: str):
    st.warning(t("The images of {name} are not here.", name=wording.plain(name)), icon=":material/cloud_off:")
    address.link("data", t("Download them under Data and trials"), "database", {"data_view": "sets"})
    st.caption(t("The data set digits is always here and needs no internet."))


def choose_trials(name: str) -> list[datasets.Trial]:
    trials = holdings.published(name) | holdings.kept(name)
    if not trials:
        st.info(
            t("No trials are published for {name}: choose known and unknown classes first.", name=wording.plain(name)),
            icon=":material/info:",
        )
        address.link("data", t("To the trial editor"), "edit", {"data_view": "trial", "trial_dataset": name})
        return []
    first, by_name = [next(iter(trials))], {"/".join(key): key for key in trials}
    keys = st.multiselect(
        t("Trials, one or several"), list(trials), default=first, format_func=holdings.trial_name,
        key=field("new_trials", f"new_trials_{name}", first, several_of(by_name), always=True), persist_state="session",
        max_selections=plans.MANY,
    )  # fmt: skip
    if not keys:
        st.error(t("Choose at least one trial."))
    row = holdings.row(name)
    for key in keys[:3]:
        trial = trials[key]
        known, unknown = (wording.listed([row.classes[c] for c in some]) for some in (trial.known, trial.unknown))
        st.caption(t("**{trial}**: knows {known}; never sees {unknown}", trial=wording.plain(holdings.trial_name(key)),
                     known=known, unknown=unknown or t("nothing")))  # fmt: skip
    return [trials[key] for key in keys]


def choose_networks(preset: str, name: str, images: int) -> tuple[list[str], str] | None:
    base = recipe.compose(preset, dataset=name, images=images)
    left, right = st.columns(2)
    methods = left.multiselect(
        t("Methods, one or several"), list(recipe.METHODS), default=[base.method], persist_state="session",
        key=field("new_methods", "new_methods", [base.method], several_of({name: name for name in recipe.METHODS})),
    )  # fmt: skip
    every = list(recipe.BACKBONES)
    backbone = right.selectbox(
        t("Backbone"), every, every.index(base.backbone), persist_state="session",
        key=field("new_backbone", f"new_backbone_{preset}_{name}", base.backbone, links.one_of(*every)),
        help=t("The network below the logits."),
    )  # fmt: skip
    if not methods:
        left.error(t("Choose at least one method."))
        return None
    st.caption("  \n".join(t(METHODS[name]) for name in methods if name in METHODS))
    if {"osrci", "g_openmax"} & set(methods) and (run := made.latest()):
        made.link(run)
    return methods, backbone


def choose_plan(
    preset: str, name: str, trials: list[datasets.Trial], images: int, methods: list[str], backbone: str
):  # fmt: skip
    """Everything that is folded, and what comes of it: the recipes, the trial of each, the device or the cluster, and
    what is asked for there."""
    base = recipe.compose(preset, dataset=name, backbone=backbone, images=images)
    mark = f"{preset}_{name}_{backbone}"  # other defaults are other widgets
    if preset in recipe.COUNTED:
        mark += "_few" if images < recipe.MANY else "_many"
        if backbone.startswith("efficientnet-lite") and images:
            st.caption(wording.told(recipe.by_count(base, images)))
    axes: dict[str, dict] = {}
    wrong = False
    with st.expander(
        t("Seeds and options of the methods: several values make several runs"), icon=":material/grid_on:"
    ):
        columns = st.columns(3)
        seeds, bad = values(columns[0], "seed", t("Seeds"), "0", int, "new_seeds", mark, t("0-4 is five seeds."))
        wrong |= bad
        place = 1
        for method in methods:
            axes[method] = {}
            for option, default in recipe.method_options(method).items():
                kind = type(default) if isinstance(default, int | float) and not isinstance(default, bool) else None
                column, label, link = columns[place % 3], f"{method}: {option}", f"new_{method}_{option}"
                meaning = t(OPTIONS.get(f"{method} {option}") or OPTIONS[option])
                if kind:
                    axes[method][option], bad = values(column, option, label, f"{default:g}", kind, link, mark, meaning)
                else:
                    value, bad = one_value(column, option, label, default, link, mark, meaning)
                    axes[method][option] = [value]
                wrong |= bad
                place += 1
    trunk = {}
    with st.expander(t("Training and backbone"), icon=":material/tune:"):
        given, bad = fields(base, mark)
        wrong |= bad
        if options := recipe.backbone_options(backbone):
            st.caption(t("Options of {backbone}", backbone=wording.plain(backbone)))
            columns = st.columns(3)
            for n, (option, default) in enumerate(options.items()):
                now = base.trunk.get(option, default)
                place, link = columns[n % 3], f"new_trunk_{option}"
                trunk[option], bad = one_value(place, option, option, now, link, mark, t(OPTIONS[option]))
                wrong |= bad
    device, needs, bad = choose_device()
    wrong |= bad
    if wrong:
        st.error(t("A value above cannot be used. What is wrong with it stands beside it."), icon=":material/error:")
        return None
    try:
        every = plans.product(preset, given | {"backbone": backbone}, trials, methods, seeds, axes, trunk)
    except ValueError as error:
        st.error(wording.told(error), icon=":material/error:")
        return None
    row = holdings.row(name)
    return every, {one.id: datasets.trial_of(one, row) for one in every}, device, needs


def values(
    place, name: str, label: str, default: str, kind: type, link: str, mark: str, help: str | None = None
) -> tuple[list, bool]:
    """One or several numbers, and whether what was written cannot be used; why is said beside the field."""
    key = field(link, f"{link}_{mark}", default, text)
    said = place.text_input(label, default, LONG, key=key, persist_state="session", help=help)
    try:
        return [recipe.checked(name, value) for value in plans.numbers(said, kind)], False
    except ValueError as error:
        place.error(wording.told(error))
        return [], True


def one_value(place, name: str, label: str, default, link: str, mark: str, help: str | None = None):
    """A field or option by the type of its default, and whether its value cannot be used, as values does."""
    choices = recipe.CHOICES.get(name)
    kinds = {bool: links.yes, int: number(int), float: number(float)}
    read = links.one_of(*choices) if choices else kinds.get(type(default), text)
    key = field(link, f"{link}_{mark}", default, read)
    if choices:
        value = place.selectbox(label, choices, choices.index(default), key=key, help=help, persist_state="session")
    elif isinstance(default, bool):
        value = place.toggle(label, default, key=key, help=help, persist_state="session")
    elif isinstance(default, int):
        value = place.number_input(label, None, None, default, 1, key=key, help=help, persist_state="session")
    elif isinstance(default, float):
        step = float(f"{max(default, 1e-6) / 10:.1g}")
        value = place.number_input(
            label, None, None, default, step, format="%g", key=key, help=help, persist_state="session"
        )
    else:
        value = place.text_input(label, default, LONG, key=key, help=help, persist_state="session")
    try:
        return recipe.checked(name, value), False
    except ValueError as error:
        place.error(wording.told(error))
        return value, True


def fields(base: Recipe, mark: str) -> tuple[dict, bool]:
    """Recipe's own fields, and whether one of them cannot be used."""
    given, wrong, columns = {}, False, st.columns(3)
    for n, (name, (label, meaning)) in enumerate(FIELDS.items()):
        place, now = columns[n % 3], getattr(base, name)
        given[name], bad = one_value(place, name, t(label), now, f"new_{name}", mark, t(meaning))
        wrong |= bad
    return given, wrong


def choose_device() -> tuple[str, Needs | None, bool]:
    """A device of this machine or a cluster, what is asked for there, and whether that cannot be used."""
    busy = {job.device for job in launch.jobs(jobs.store()) if jobs.going(job)}
    try:
        there = clusters.every()
    except ValueError as error:
        st.error(wording.told(error), icon=":material/error:")
        there = {}

    def said(device: str) -> str:
        if device in there:
            return t("cluster {name}", name=device) + f" ({free_on(device)})"
        what = t("processor") if device == "cpu" else t("graphics card {n}", n=device.partition(":")[2])
        return f"{what} ({device}), {t('busy: it waits its turn') if device in busy else t('free')}"

    here = jobs.devices()
    every, first = [*here, *there], int(len(here) > 1)
    wanted = asked.get("new_device") or st.session_state.get("new_device") or every[first]
    if wanted not in every or asked:
        st.session_state.new_device_gone = "" if wanted in every else wanted
    key = field("new_device", "new_device", every[first], links.one_of(*every))
    device = st.selectbox(t("Device"), every, first, format_func=said, key=key, persist_state="session",
                          on_change=lambda: st.session_state.pop("new_device_gone", None))  # fmt: skip
    if gone := st.session_state.get("new_device_gone"):
        st.warning(t("There is no device or cluster “{name}” here. It would train on the one above.",
                     name=wording.plain(gone[:80])), icon=":material/info:")  # fmt: skip
    if device not in there:
        return device, None, False
    st.caption(wording.plain(said(device)))  # on a narrow screen the box cuts it
    usual = there[device].needs
    fields, entered = [
        ("cpus", t("Processors"), str(usual.cpus)),
        ("gpus", t("Graphics cards"), str(usual.gpus)),
        ("memory", t("Memory, as 16G"), f"{usual.memory}M" if usual.memory else ""),
    ], []  # fmt: skip
    if there[device].kind == "slurm":
        span = f"{usual.minutes // 60}:{usual.minutes % 60:02}:00" if usual.minutes else ""
        fields += [("time", t("Time, as 4:00:00"), span), ("nodes", t("Machines for each run"), str(usual.nodes))]
    for place, (name, label, now) in zip(st.columns(len(fields)), fields, strict=True):
        key = field(f"new_{name}", f"new_{name}_{device}", now, text)
        entered.append(place.text_input(label, now, LONG, key=key, persist_state="session").strip() or None)
    st.caption(t("Each run asks for so much; empty is what the cluster gives. Runs and data must lie where all its "
                 "machines see them, under the same paths."))  # fmt: skip
    try:
        needs = clusters.needs_of(*entered)
        if words := clusters.doubt(needs, clusters.slots(device, wait=1.0)):
            st.warning(wording.told(words), icon=":material/hourglass_top:")
        return device, needs, False
    except ValueError as error:
        st.error(wording.told(error), icon=":material/error:")
        return device, None, True


def free_on(name: str) -> str:
    """What is free on a cluster, in words; the page does not wait long for it."""
    said = clusters.slots(name, wait=1.0)
    if said is None:
        return t("has not answered yet")
    if not isinstance(said, Slots):
        return t("does not answer")
    (cpus, all_cpus), (gpus, all_gpus) = said.cpus, said.gpus
    words = t("{n} of {all} processors free", n=cpus, all=all_cpus)
    return words + (", " + t("{n} of {all} graphics cards", n=gpus, all=all_gpus) if all_gpus else "")


def summary(
    preset: str, every: list[Recipe], trials: dict[str, datasets.Trial], device: str, needs: Needs | None = None
):  # fmt: skip
    states = {one.id: Run(jobs.store() / one.id).state if is_folder(jobs.store() / one.id) else "" for one in every}
    queued = {job.run for job in launch.jobs(jobs.store()) if job.kind == "train" and jobs.going(job)}
    fresh = [one for one in every if states[one.id] != "finished" and one.id not in queued]
    ended = [Run(jobs.store() / one.id) for one in every if states[one.id] in ("finished", *launch.AGAIN)]
    other = {run.id: said for run in ended if run.id not in queued and (said := changed(run))}
    fresh = [one for one in fresh if one.id not in other]
    first = every[0]
    with st.container(border=True):
        st.markdown(f"**{in_words(first, trials[first.id], len(every))}**")
        if needs is None:
            cost(preset, fresh, trials, device)
        else:
            keep_probe(None)
            measured_here(fresh, trials)
        done = sum(states[one.id] == "finished" and one.id not in other for one in every)
        under_way = sum(one.id in queued for one in every)
        if done:
            said = t("Finished already, and not trained again: {n}.", n=done)
            st.caption(said if fresh else f"{said} {t('Another seed, trial or setting makes another run.')}")
        if under_way:
            st.caption(t("In the queue already: {n}.", n=under_way))
        if other:
            of_other_images([one for one in every if one.id in other], *next(iter(other.values())), device, needs)
        with st.container(horizontal=True, vertical_alignment="center"):
            if jobs.read_only():
                st.info(t("Here one can look at everything and change nothing."), icon=":material/lock:")
            else:
                label = t("Start") if len(fresh) <= 1 else t("Start {n} runs", n=len(fresh))
                st.button(label, type="primary", icon=":material/play_arrow:", key="new_start", on_click=start,
                          args=(fresh, device, False, needs), disabled=not fresh)  # fmt: skip
            if under_way or done:
                first_to_watch = next((one.id for one in every if one.id in queued), first.id)
                address.link("live", t("Watch them under Live"), "monitoring", {"watched": first_to_watch})
    if said := st.session_state.pop("new_said", None):
        if isinstance(said, Exception):
            wording.explain(said)
        else:
            st.success(said, icon=":material/check:")
    with st.expander(t("The same from the command line"), icon=":material/terminal:", expanded=len(every) == 1):
        usual = clusters.every()[device].needs if needs else USUAL
        lines = [plans.command(preset, one, device, needs, usual) for one in every]
        st.code("\n".join(lines), language="bash", wrap_lines=True)
    if len(every) > 1:
        with st.expander(t("All {n} runs", n=len(every)), icon=":material/list:"):
            st.dataframe(
                {
                    t("run"): [one.id for one in every],
                    t("trial"): [holdings.trial_name((one.family, one.trial)) for one in every],
                    t("method"): [wording.method(one.method) for one in every],
                    t("options"): [wording.options(recipe.method_options(one.method) | one.hyper) for one in every],
                    t("seed"): [one.seed for one in every],
                    t("state"): [t("queued") if one.id in queued else t(states[one.id] or "new") for one in every],
                },
                hide_index=True,
            )  # fmt: skip


def changed(run: Run) -> tuple[str, str] | None:
    """Then and now, where the images of a run have changed since it was trained; a broken run says so elsewhere."""
    return None if run.problem() else holdings.changed(run)


def of_other_images(every: list[Recipe], then: str, now: str, device: str, needs: Needs | None):
    """What is there of these is of images that the data set no longer holds."""
    st.warning(
        t("Trained before, on other images, {n}: {dataset} has changed since. Then: {then}; now: {now}. Another seed "
          "makes another run. Trained again, the old one goes to the trash.",
          n=len(every), dataset=wording.plain(every[0].dataset), then=wording.told(then), now=wording.told(now)),
        icon=":material/update:",
    )  # fmt: skip
    if not jobs.read_only():
        st.button(t("Train again on the new images"), icon=":material/replay:", key="new_again", on_click=start,
                  args=(every, device, True, needs))  # fmt: skip


def in_words(one: Recipe, trial: datasets.Trial, count: int) -> str:
    total = one.epochs + one.fine_epochs
    words = t(
        "{method} with the {backbone} network learns {known} classes of {dataset} in {epochs} of batches of {batch}",
        method=wording.plain(wording.method(one.method)), backbone=wording.plain(one.backbone), known=len(trial.known),
        dataset=wording.plain(one.dataset), epochs=wording.epochs(total), batch=one.batch,
    )  # fmt: skip
    tested = t("and is tested on {n} that it has never seen.", n=len(trial.unknown)) if trial.unknown else t(
        "and is tested without any unknown class."
    )  # fmt: skip
    return f"{words} {tested}" + (" " + t("{n} runs in all; this is the first.", n=count) if count > 1 else "")


def cost(preset: str, fresh: list[Recipe], trials: dict[str, datasets.Trial], device: str):
    """What is left to train takes, by what was measured here; until it is, as far as a finished run tells."""
    free = shutil.disk_usage(next(p for p in (jobs.store(), *jobs.store().parents) if is_folder(p))).free
    memory = psutil.virtual_memory().available
    going = st.session_state.get("new_probe")
    ended = going is not None and not going.going  # asked before its file is: it writes, then ends
    ahead = [holdings.ahead(name, size) for name, size in {(one.dataset, one.size) for one in fresh}]
    for one in ahead:
        holdings.tell_ahead(one)
    files = plans.probes(fresh, trials, device)
    took = {file: probe.kept(file) for file in files}
    known = all(took.values())
    busy = "" if known and not any(one.beside for one in took.values()) else probe.busy(jobs.store(), device)
    missing = [file for file, one in took.items() if one is None or (one.beside and not busy)]
    if fresh and known:
        measured(files, took, free, memory)
    elif fresh and (told := plans.estimate(fresh, trials, device)):
        st.markdown(by_a_run(*told))
    if any(one and one.seconds > LIMIT / 4 for one in ahead):
        keep_probe(None)
        st.caption(t("What training takes can be measured once they are decoded."))
    else:
        measure(preset, files, missing, device, busy, ended)
    st.caption(
        t("Free here: {disk} of disk, {memory} of memory, {cores} processor cores.", disk=wording.megabytes(free),
          memory=wording.megabytes(memory), cores=os.cpu_count())
    )  # fmt: skip


def measured_here(fresh: list[Recipe], trials: dict[str, datasets.Trial]):
    """What a run takes on this machine, where that is known: something to go by in what is asked for elsewhere."""
    for device in reversed(jobs.devices()):
        took = [(probe.kept(file), some) for file, some in plans.probes(fresh, trials, device).items()]
        if took and all(one for one, _ in took):
            seconds = max(one.seconds(given) for one, some in took for given in some)
            memory = wording.megabytes(max(one.memory for one, _ in took))
            st.caption(t("As measured on this machine, a run takes about {time} and {memory} of memory.",
                         time=wording.span(seconds), memory=memory))  # fmt: skip
            return


def measured(files: dict, took: dict, free: int, available: int):
    """What probes measured, for all the runs that they serve, and whether it fits."""
    pairs = [(took[file], one) for file, every in files.items() for one in every]
    seconds, disk = sum(one.seconds(given) for one, given in pairs), sum(one.disk(given) for one, given in pairs)
    memory, slowest = max(one.memory for one, _ in pairs), max((one for one, _ in pairs), key=probe.Measured.epoch)
    st.markdown(
        t("About **{time}**, {memory} of memory and {disk} of disk, as a few training steps took on this machine.",
          time=wording.span(seconds), memory=wording.megabytes(memory), disk=wording.megabytes(disk))
    )  # fmt: skip
    told = {"epoch": wording.span(slowest.epoch()), "steps": slowest.steps, "step": f"{slowest.step:.2g}"}
    if len(took) > 1:
        epoch = t("An epoch of the slowest takes {epoch}: {steps} steps of {step} s and the validation.", **told)
    else:
        epoch = t("An epoch takes {epoch}: {steps} steps of {step} s and the validation.", **told)
    if any(one.beside for one, _ in pairs):
        epoch += " " + t("It was measured beside other work, so it will rather take less.")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(epoch)
        if not jobs.read_only():
            st.button(t("Measure again"), type="tertiary", icon=":material/timer:", key="new_measure_again",
                      on_click=forget, args=(list(files),))  # fmt: skip
    room = slowest.room or available
    if memory > room:
        st.warning(
            t("It will probably not fit into memory: it takes about {memory}, and {room} are there. A smaller batch "
              "takes less.", memory=wording.megabytes(memory), room=wording.megabytes(room)),
            icon=":material/memory:",
        )  # fmt: skip
    if disk > free:
        st.warning(
            t("There is too little disk: it takes about {disk}, and {free} are free.",
              disk=wording.megabytes(disk), free=wording.megabytes(free)),
            icon=":material/hard_drive:",
        )  # fmt: skip


def measure(preset: str, files: dict, missing: list, device: str, busy: str, ended: bool):
    """See to it that what is missing is measured, one after the other, in a process of its own."""
    going, failed = st.session_state.get("new_probe"), st.session_state.setdefault("new_probe_failed", {})
    if going and going.file in missing and ended:
        failed[going.file] = going.complaint()
    elif going and going.file in missing and going.seconds > LIMIT:
        failed[going.file] = t("It took longer than {n} s.", n=LIMIT)
    else:
        keep_probe(going if going and going.file in missing else None)
    if not missing:
        return
    if jobs.read_only():
        st.caption(t("Nothing is measured here: one can only look."))
        return
    file = missing[0]
    asked = file in st.session_state.get("new_probe_asked", ())
    if file in failed:
        keep_probe(None)
        st.warning(t("It could not be measured: {why}", why=wording.told(failed[file])), icon=":material/timer_off:")
        st.button(t("Measure again"), icon=":material/timer:", key="new_measure", on_click=ask, args=(missing,))
    elif busy and not asked:
        st.info(
            t("{run} is at work on this device, so a measurement now would be too slow.", run=wording.plain(busy)),
            icon=":material/timer_off:",
        )
        st.button(t("Measure all the same"), icon=":material/timer:", key="new_measure", on_click=ask, args=(missing,))
    else:
        if not st.session_state.get("new_probe"):
            keep_probe(plans.begin_probe(preset, files[file][0], file, device))
        st.fragment(measuring, run_every="1s", key="measuring")()


def measuring():
    going = st.session_state.get("new_probe")
    if going is None or not going.going or going.seconds > LIMIT:
        st.rerun()
    st.caption(t("Measuring on this machine… {n} s", n=int(going.seconds)))


def ask(files: list):
    st.session_state.new_probe_asked = files
    st.session_state.new_probe_failed = {}
    holdings.look_again()  # what was measured is kept under the images that were found


def forget(files: list):
    for file in files:
        file.unlink(missing_ok=True)


def keep_probe(going: probe.Probing | None):
    """This probe is the one at work; another that was is ended."""
    before = st.session_state.get("new_probe")
    if before is not None and before is not going:
        before.end()
    st.session_state.new_probe = going


def by_a_run(seconds: float, size: float, by: plans.Measured) -> str:
    where = t("as measured on this machine") if by.here else t("if this machine is like the one that trained it")
    return t(
        "About **{time}** and {disk} of disk, by the epochs of {run}, {where}; the evaluation at the end comes on "
        "top.",
        time=wording.span(seconds), disk=wording.megabytes(size), run=wording.plain(by.run), where=where,
    )  # fmt: skip


def start(every: list[Recipe], device: str, again: bool = False, needs: Needs | None = None):
    if jobs.read_only():
        return
    try:
        count = jobs.train(every, device, again, needs)
        st.session_state.new_said = t("{n} in the queue now. Watch under Live.", n=count)
    except (ValueError, OSError) as error:
        st.session_state.new_said = error


with wording.explained():
    page()
    asked.clear()
    write_link()
