"""Recipe: every choice that makes a run, and nothing else. Standard library only.

Two equal recipes are the same run. A recipe's id is made of its names and a digest of what differs
from the defaults below, so an option added later renames no old run.
"""

import ast
import dataclasses
import hashlib
import importlib
import json
import math
import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cac_core.sentences import say

CHOICES = {
    "schedule": ("onecycle", "triangle", "constant"),  # training.loop.rate_at gives the learning rate of each
    "optimizer": ("sgd", "nesterov"),
    "decays": ("all", "weights"),
    "augment": ("affine", "shift", "randaugment", "colour"),  # training.augment has each
    "tta": ("none", "mirror"),
    "precision": ("auto", "float32", "bfloat16"),
    "stem": ("auto", "small", "original"),
    "mixing": ("apart", "all"),
    "images": ("made", "noise", "none"),
    **dict.fromkeys(("gan", "search", "blend"), ("paper", "released")),
}
WHOLE = {  # the least of each
    "epochs": 1, "fine_epochs": 0, "batch": 2, "cutout": 0, "size": 0, "seed": 0, "divide": -1, "steps": 0, "folds": 0
}  # fmt: skip
MOST = 10**15  # that any of these may be, but for
AT_MOST = {"size": 1024, "seed": 10**12}  # a million epochs of each seed have a number of their own
LONGEST = 1000  # characters of a name
RATES = ("lr", "decay", "momentum", "trunk_rate")
RANGES: dict[str, tuple[Callable[[float], bool], str]] = {  # of the options of methods and backbones, and of a share
    "held_out": (lambda value: 0 < value < 1, say("a share above 0 and less than 1")),
    "folds": (lambda value: value == 0 or 2 <= value <= 20, say("0, or between 2 and 20")),
    "dropout": (lambda value: 0 <= value < 1, say("at least 0 and less than 1")),
    "input_size": (lambda value: 32 <= value <= 1024, say("between 32 and 1024 pixels")),
    "thaw": (lambda value: value in (0, 1, 2), say("0, 1 or 2")),
    "crops": (lambda value: 0 <= value <= 8, say("between 0 and 8")),
    **{
        name: (lambda value: 0 <= value < math.inf, say("a number of at least 0"))
        for name in ("weight", "placeholder", "mixed", "distance", "reconstruction")
    },
    "queue": (lambda value: 2 <= value <= 10_000, say("between 2 and 10000")),
    "draws": (lambda value: 1 <= value <= 100_000, say("between 1 and 100000")),
    "start": (lambda value: 0 <= value < 1, say("at least 0 and less than 1")),
    "dummies": (lambda value: 1 <= value <= 100, say("between 1 and 100")),
    "count": (lambda value: 1 <= value <= 2000, say("between 1 and 2000")),
    "walk": (lambda value: 1 <= value <= 10_000, say("between 1 and 10000")),
    "latent": (lambda value: 1 <= value <= 1024, say("between 1 and 1024")),
    "maps": (lambda value: 2 <= value <= 1024, say("between 2 and 1024")),
    "unsure": (lambda value: 0 < value <= 1, say("above 0 and at most 1")),
    "speed": (lambda value: 0 < value < math.inf, say("a positive number")),
    "mixup": (lambda value: 0 < value < math.inf, say("a positive number")),
    "temperature": (lambda value: 0 < value < math.inf, say("a positive number")),
    "ema": (lambda value: 0 <= value < 1, say("at least 0 and less than 1")),
    "projection": (lambda value: 2 <= value <= 4096, say("between 2 and 4096")),
    "smoothing": (lambda value: 0 <= value < 1, say("at least 0 and less than 1")),
    "widen": (lambda value: 0 < value <= 8, say("above 0 and at most 8")),
    "alpha": (lambda value: 0 < value < math.inf, say("a positive number")),
    "lam": (lambda value: 0 <= value < math.inf, say("a number of at least 0")),
}
HERE = Path(__file__).parent


def checked(name: str, value: Any) -> Any:
    """The value of a recipe's field, or of an option of a method or backbone, if it may have it.

    Otherwise ValueError that names the field, so that a form can say it beside that field. What a name may be that
    stands in no table here (a data set, a class list) is checked where it is looked up.
    """
    if name in CHOICES:
        return known_name(value, CHOICES[name], name)
    if name == "begun_with" and not (isinstance(value, str) and re.fullmatch(r"[a-z0-9-]{0,64}", value)):
        raise ValueError(say("{name} must be the id of a run, not {value}.", name=name, value=reprlib.repr(value)))
    if name in WHOLE and type(value) is int and value > (most := AT_MOST.get(name, MOST)):
        raise ValueError(
            say("{name} must be at most {most}, not {value}.", name=name, most=most, value=reprlib.repr(value))
        )
    if name in WHOLE and (type(value) is not int or value < WHOLE[name]):
        raise ValueError(say(
            "{name} must be a whole number of at least {least}, not {value!r}.",
            name=name, least=WHOLE[name], value=value,
        ))  # fmt: skip
    if name in RATES:
        try:
            number = float(value) + 0.0  # no negative zero
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or number < 0 or (name == "lr" and number == 0):
            what = say("a positive number") if name == "lr" else say("a non-negative number")
            raise ValueError(say("{name} must be {what}, not {value!r}.", name=name, what=what, value=value))
        return number
    if name in RANGES and not (isinstance(value, int | float) and RANGES[name][0](value)):
        raise ValueError(say("{name} must be {what}, not {value!r}.", name=name, what=RANGES[name][1], value=value))
    return value


def _counts(value: str | int | float) -> bool:
    """Whether a value can be worked with: no number without end, and none of hundreds of digits."""
    return isinstance(value, str) or abs(value) <= MOST


def known_name(name: str, names, kind: str, hint: str = "") -> str:
    """The name itself, if it is one of names; otherwise an error that lists them. kind and hint are sentences."""
    if not isinstance(name, str) or name not in names:
        said = {"kind": kind, "name": name, "names": list(names), "hint": hint}
        if hint:
            raise ValueError(say("There is no {kind} {name!r}; there are: {names}. {hint}", **said))
        raise ValueError(say("There is no {kind} {name!r}; there are: {names}.", **said))
    return name


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, and how.

    lr is the peak rate of "onecycle" and "triangle" and the rate of "constant"; fine_epochs more epochs at lr / 10
    start again from the best checkpoint (the paper's second stage). decay is SGD's weight decay; decays says what it
    pulls at: all parameters, or weights alone, without biases and batch norm. augment is how training changes an image,
    and cutout the side in pixels of a square that it loses besides. tta is how an image is judged afterwards: by
    itself, or by the mean of its logits and features and those of its mirror image, where the data set's images may be
    mirrored. trunk_rate times the learning rate is the backbone's, for fine-tuning one that was trained before.
    held_out is the share of the known training images that is validation, drawn by the seed or, from 0 on, by divide,
    so that runs of several seeds hold out the same; with folds, cross-validation stands in its
    place: the network learns from all known training images, and each of them is validated by a head that has learnt
    from the other folds alone, which takes a backbone that does not learn. steps is the least number of steps in all,
    whatever the count of images, and with it a batch has a quarter of them at most; 0 leaves both to epochs and batch.
    begun_with is the id of a run whose weights training begins with, where they fit, in place of random ones.
    hyper holds the options of the method, trunk those of the backbone. known and unknown are class numbers, given only
    where the trial is a user's own (family "custom"): a published trial is named, not copied. size is the image side in
    pixels, 0 for the data set's.
    """

    dataset: str = "digits"
    family: str = "osrci"
    trial: str = "0"
    method: str = "cac"
    backbone: str = "small"
    epochs: int = 20
    fine_epochs: int = 0
    schedule: str = "onecycle"
    batch: int = 32
    lr: float = 0.02
    momentum: float = 0.9
    decay: float = 5e-4
    optimizer: str = "sgd"
    decays: str = "all"
    augment: str = "affine"
    cutout: int = 0
    tta: str = "none"
    seed: int = 0
    divide: int = -1
    precision: str = "auto"
    size: int = 0
    trunk_rate: float = 1.0
    held_out: float = 0.2
    steps: int = 0
    folds: int = 0
    begun_with: str = ""
    hyper: dict[str, Any] = field(default_factory=dict)
    trunk: dict[str, Any] = field(default_factory=dict)
    known: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()

    def __post_init__(self):
        def settle(name, value):
            object.__setattr__(self, name, value)

        if type(self.trial) is int:
            settle("trial", str(self.trial))
        for name in ("dataset", "family", "trial", "method", "backbone"):
            if not isinstance(getattr(self, name), str) or len(getattr(self, name)) > LONGEST:
                value = reprlib.repr(getattr(self, name))
                raise ValueError(say("{name} must be a name, not {value}.", name=name, value=value))
        for name in ("known", "unknown"):
            settle(name, tuple(getattr(self, name)))
            if not all(isinstance(c, int) and not isinstance(c, bool) for c in getattr(self, name)):
                raise ValueError(
                    say("{name} holds class numbers, not {value!r}.", name=name, value=getattr(self, name))
                )
        for name in ("hyper", "trunk"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(
                    say("{name} holds options by name, not {value!r}.", name=name, value=getattr(self, name))
                )
            for option, value in getattr(self, name).items():
                if not isinstance(value, str | int | float) or not _counts(value):
                    value = reprlib.repr(value)
                    raise ValueError(say("{name} must be a number or a word, not {value}.", name=option, value=value))
        for name in (*(name for name in CHOICES if hasattr(self, name)), "held_out", "begun_with", *WHOLE, *RATES):
            settle(name, checked(name, getattr(self, name)))
        if self.optimizer == "nesterov" and not self.momentum:
            raise ValueError(say("Nesterov's steps need a momentum above 0. Give one, or the optimizer sgd."))
        if self.cutout and self.augment not in ("shift", "randaugment"):
            raise ValueError(say(
                "A cut-out goes with the augmentations shift and randaugment. Give --augment shift, or cutout 0."
            ))  # fmt: skip

    @property
    def id(self) -> str:
        """Letters, digits and dashes, at most 64 of them: dataset-family-trial-method-backbone-seed-digest."""
        names = [
            self.dataset,
            *([] if self.family == "custom" else [self.family]),
            self.trial,
            self.method,
            self.backbone,
        ]
        slugs = [slug(name) for name in names]
        rest = {
            k: v
            for k, v in self.differences().items()
            if k not in {"dataset", "family", "trial", "method", "backbone", "seed"}
        }
        said = "-".join(slugs)
        if slugs != names or len(said) > 48 or "-" in slugs[0] + self.trial:  # what a slug forgets, the digest keeps
            rest["names"] = names
        if self.seed >= 10_000:
            rest["seed"] = self.seed
        digest = hashlib.sha256(json.dumps(_exact(rest), sort_keys=True).encode()).hexdigest()[:8]
        return "-".join([said[:48].strip("-"), f"s{self.seed}"[:6], *([digest] if rest else [])])

    @property
    def is_graph(self) -> bool:
        """Whether its network is an ONNX graph, which gives no gradient."""
        return self.backbone == FOREIGN and "architecture" not in self.trunk

    @property
    def divided_by(self) -> int:
        """The seed that tells validation images from training images."""
        return self.seed if self.divide < 0 else self.divide

    def differences(self) -> dict[str, Any]:
        """The fields that are not at their defaults."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v != getattr(DEFAULT, k)}

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Recipe":
        """Raises ValueError where the record is no recipe; a field that a newer version wrote is named."""
        if not isinstance(record, dict):
            raise ValueError(say("A recipe is a JSON object, not {kind}.", kind=type(record).__name__))
        names = [f.name for f in dataclasses.fields(cls)]
        if wrong := sorted(set(record) - set(names)):
            raise ValueError(
                say("This version knows no recipe field {names}; it knows {fields}.", names=wrong, fields=names)
            )
        try:
            return cls(**record)
        except TypeError as error:
            raise ValueError(say("The recipe cannot be read: {error}", error=error)) from error


def _exact(value: Any) -> Any:
    """Numbers that are equal written the same: 1 and 1.0."""
    if isinstance(value, dict):
        return {k: _exact(v) for k, v in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


DEFAULT = Recipe()

# Miller et al., WACV 2021, as released: SGD, momentum 0.9, batch 128 (CIFAR+50: 32), lr 0.01, then a second stage at
# 0.001 from the best checkpoint; a fifth of the training images for validation (TinyImageNet: a tenth).
# (epochs, fine_epochs, decay, dropout)
PAPER = {
    "MNIST": (35, 35, 5e-6, 0.2),
    "SVHN": (50, 25, 5e-6, 0.2),
    "CIFAR10": (150, 50, 5e-6, 0.2),
    "CIFAR+10": (150, 50, 5e-4, 0.2),
    "CIFAR+50": (150, 50, 5e-4, 0.2),
    "TinyImageNet": (500, 300, 1e-3, 0.3),
}


def quick(dataset: str) -> dict[str, Any]:
    """One cycle of the learning rate, few epochs: most of the result in a small part of the time."""
    if dataset == "digits":
        return {}
    return {"backbone": "plain", "epochs": 8 if dataset == "MNIST" else 30, "batch": 128, "lr": 0.05}


def standard(dataset: str) -> dict[str, Any]:
    """One cycle of the learning rate over half of the paper's epochs, with the paper's network and dropout."""
    if dataset == "digits":
        return {"epochs": 60}
    like = paper(dataset)
    epochs = (like["epochs"] + like["fine_epochs"]) // 2
    return {"backbone": "plain", "epochs": epochs, "batch": 128, "lr": 0.05, "trunk": like["trunk"]}


FAST = {"digits": 40, "MNIST": 8, "SVHN": 16, "TinyImageNet": 60}  # epochs; 36 of every other data set


def fast(dataset: str) -> dict[str, Any]:
    """A network and a schedule of our own time: stronger than the paper's network, in less time.

    Settings after Jordan, 2024, see networks.fast. Cut-outs and the mean with the mirror image are for photographs.
    The rate is for so many epochs: of a quarter of them CIFAR10 learns more by half of it.
    """
    ink = dataset in ("digits", "MNIST")
    return {
        "backbone": "fast",
        "epochs": FAST.get(dataset, 36),
        "schedule": "triangle",
        "optimizer": "nesterov",
        "decays": "weights",
        "augment": "shift",
        "cutout": 0 if ink else 24 if dataset == "TinyImageNet" else 12,
        "tta": "none" if ink or dataset == "SVHN" else "mirror",
        "batch": 64 if dataset == "digits" else 256,
        "lr": 0.1 if dataset == "digits" else 0.4,
    }


def paper(dataset: str) -> dict[str, Any]:
    """The schedule published with CAC, with the paper's network; data sets it does not cover train as its CIFAR10."""
    epochs, fine_epochs, decay, dropout = PAPER.get(dataset, PAPER["MNIST" if dataset == "digits" else "CIFAR10"])
    return {
        "backbone": "small" if dataset == "digits" else "plain",
        "epochs": epochs,
        "fine_epochs": fine_epochs,
        "schedule": "constant",
        "batch": 32 if dataset == "CIFAR+50" else 128,
        "lr": 0.01,
        "decay": decay,
        "held_out": 0.1 if dataset == "TinyImageNet" else DEFAULT.held_out,
        "trunk": {"dropout": dropout},
    }


def report(dataset: str, backbone: str) -> dict[str, Any]:
    """The EfficientNet report's choice of network for a data set, with CAC's schedule: it names none of its own."""
    return paper(dataset) | {"dataset": dataset, "backbone": backbone, "trunk": {}}


MANY = 93  # images of each known class: a fifth of them is 19, and theta can keep 95 % of new ones


def photos(dataset: str, images: int = 0) -> dict[str, Any]:
    """A network that knows ImageNet, for photos: only the head learns where a known class has few of these images.

    images is the number in the smallest known class, 0 where nobody has counted. Of few, validation is by folds; of
    MANY, a share is held out, and the last stage learns as well: at the rate of the head, which was best on validation
    images among 0.1, 0.3, 1 and 3 times that. Data sets of small images are enlarged to 128 pixels, others are seen at
    the 224 that the network was trained at.
    """
    side = 128 if dataset in (*PAPER, "digits") else 224
    few = images < MANY
    return {
        "backbone": "efficientnet-lite0",
        "epochs": 30,
        "steps": 600,
        "lr": 0.005,  # higher, a head of few images is drawn to its anchors altogether, and energy loses a point
        "size": side,
        "folds": 5 if few else 0,
        "trunk": {"input_size": side, "thaw": 0 if few else 1},
    }


def by_count(recipe: Recipe, images: int) -> str:
    """What `photos` chose by the number of images to learn from in the smallest known class, in a sentence."""
    said = {"count": images, "many": MANY, "folds": recipe.folds, "thaw": recipe.trunk.get("thaw", 0)}
    if recipe.folds:
        return say(
            "{count} images to learn from in the smallest known class, fewer than {many}: the network stays as "
            "ImageNet left it, the head on it learns, and every image is validated by one of {folds} heads that has "
            "not learnt from it.",
            **said,
        )  # fmt: skip
    return say(
        "{count} images to learn from in the smallest known class: a share of them is held out, and the last "
        "stages of the network learn as well ({thaw}).",
        **said,
    )  # fmt: skip


# each takes the data set that was asked for, and those in COUNTED the number of images in its smallest known class, too
PRESETS = {
    "quick": quick,
    "standard": standard,
    "fast": fast,
    "paper": paper,
    "photos": photos,
    "report-mnist": lambda _: report("MNIST", "efficientnet-b2"),
    "report-cifar10": lambda _: report("CIFAR10", "efficientnet-b5"),
    "report-tinyimagenet": lambda _: report("TinyImageNet", "efficientnet-b5"),
}
COUNTED = {"photos": ("folds", "thaw")}  # presets that go by how many images there are, and what they choose by it

# Where each method and backbone is: named here, so that nobody imports torch to know what there is.
METHODS = {
    "cac": "networks.methods.cac.CAC",
    "cross_entropy": "networks.methods.cross_entropy.CrossEntropy",
    "supcon": "networks.methods.sphere.SupCon",
    "cider": "networks.methods.sphere.CIDER",
    "vos": "networks.methods.vos.VOS",
    "proser": "networks.methods.proser.PROSER",
    "osrci": "networks.methods.openset.OSRCI",
    "g_openmax": "networks.methods.openset.GOpenMax",
    "crosr": "networks.methods.crosr.CROSR",
}
IMPORTED = "imported"  # method and network of a run of outputs that were made elsewhere, see exchange.import_outputs
IMPORTED_SCORES = "imported_scores"  # the method of one of scores alone
FOREIGN = "onnx"  # method and network of a run of a network that was trained elsewhere, see exchange.import_network
ENSEMBLES = ("softmax_ensemble", "distance_ensemble")  # methods of runs that results.ensemble makes of others
NAMES = {  # what methods are called where one reads of them
    "cac": "CAC", "cross_entropy": say("Cross-entropy"), "supcon": "SupCon", "cider": "CIDER", "vos": "VOS",
    "proser": "PROSER", "crosr": "CROSR", "osrci": "OSRCI", "g_openmax": "G-OpenMax",
    "softmax_ensemble": say("Ensemble by softmax"), "distance_ensemble": say("Ensemble by distances"),
}  # fmt: skip
# trained as a system without what makes it one: by method, option and value
CONTROLS = {
    **{
        (name, "images", value): said
        for name in ("osrci", "g_openmax")
        for value, said in {
            "noise": say("This run is a control: noise was learnt as a class of its own."),
            "none": say("This run is a control: the class of unknowns was learnt without any image."),
        }.items()
    },
    ("crosr", "weight", 0): say("This run is a control: no image was rebuilt."),
    ("vos", "weight", 0): say("This run is a control: virtual outliers counted for nothing."),
}
BACKBONES = {
    "small": "networks.backbones.small",
    "plain": "networks.backbones.plain",
    "fast": "networks.fast.fast",
    **{f"efficientnet-b{i}": "networks.backbones.efficientnet" for i in range(8)},
    **{f"efficientnet-lite{i}": "networks.lite.efficientnet_lite" for i in range(3)},
    "wide_resnet-40-2": "networks.backbones.wide_resnet",
    **{
        name: "networks.backbones.torchvision_network"
        for name in ("resnet18", "resnet50", "convnext_tiny", "efficientnet_v2_s")
    },
}


def method_options(name: str) -> dict[str, Any]:
    if name in (*ENSEMBLES, IMPORTED, IMPORTED_SCORES, FOREIGN):
        return {}  # they are not trained
    return options_in(*METHODS[known_name(name, METHODS, say("method"))].rsplit(".", 1))


def backbone_options(name: str) -> dict[str, Any]:
    if name in (IMPORTED, FOREIGN):
        return {}
    return options_in(*BACKBONES[known_name(name, BACKBONES, say("backbone"))].rsplit(".", 1))


def find(table: dict[str, str], name: str):
    """The class or function that a row of METHODS or BACKBONES names; this imports torch."""
    if name not in table:
        raise ValueError(say(
            "This version knows no {kind} {name!r}: the run came from a newer one, or its recipe.json was changed.",
            kind=say("method") if table is METHODS else say("backbone"), name=name,
        ))  # fmt: skip
    module, attribute = table[name].rsplit(".", 1)
    return getattr(importlib.import_module(f"cac_core.{module}"), attribute)


def compose(
    preset: str = "quick", options: dict[str, Any] | None = None, *, images: int = 0, **given: Any
) -> Recipe:  # fmt: skip
    """A recipe from a preset and what the user said; None means not said.

    options are those of the method and the backbone together, by name. images is the number of images in the smallest
    known class, for presets in COUNTED. Values at their defaults are left out, so that saying a default makes no other
    run. Raises ValueError with the right names where one is wrong.
    """
    given = {k: v for k, v in given.items() if v is not None}
    dataset = given.get("dataset", DEFAULT.dataset)
    base = PRESETS[known_name(preset, PRESETS, say("preset"))]
    base = base(dataset, images) if preset in COUNTED else base(dataset)
    if preset in COUNTED and "thaw" not in backbone_options(given.get("backbone", base["backbone"])):
        base = {k: v for k, v in base.items() if k not in ("folds", "size")}  # another network was said
    chosen = {**base, **given}
    method, backbone = chosen.get("method", DEFAULT.method), chosen.get("backbone", DEFAULT.backbone)
    for_method, for_backbone = method_options(method), backbone_options(backbone)
    values = {k: v for k, v in chosen.pop("trunk", {}).items() if k in for_backbone} | (options or {})
    owner = say("{method} on {backbone}", method=method, backbone=backbone)
    values = checked_options(owner, for_method | for_backbone, values)
    values = {name: checked(name, value) for name, value in values.items()}
    return Recipe(
        **chosen,
        hyper={k: v for k, v in values.items() if k in for_method and v != for_method[k]},
        trunk={k: v for k, v in values.items() if k in for_backbone and v != for_backbone[k]},
    )


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"


def options_in(module: str, name: str) -> dict[str, Any]:
    """The keyword-only arguments and defaults of a function, or of a class's __init__, read without importing it.

    module is a dotted name below cac_core. The signature is the schema: the command line, the app's forms and the
    errors read it here, and none of them has to import torch for it.
    """
    body = ast.parse((HERE / f"{module.replace('.', '/')}.py").read_text("utf-8")).body
    found = next(node for node in body if getattr(node, "name", None) == name)
    if isinstance(found, ast.ClassDef):
        found = next(node for node in found.body if getattr(node, "name", None) == "__init__")
    pairs = zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True)
    return {argument.arg: ast.literal_eval(default) for argument, default in pairs}


def checked_options(owner: str, allowed: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """given, each value brought to the type of its default; an option that owner does not have is an error."""
    if wrong := sorted(set(given) - set(allowed)):
        takes = list(allowed) or say("none")
        raise ValueError(say("{owner} has no option {names}; it takes {takes}.", owner=owner, names=wrong, takes=takes))
    return {
        name: _as_type_of(allowed[name], value, say("{owner}'s {name}", owner=owner, name=name))
        for name, value in given.items()
    }


def _as_type_of(default: Any, value: Any, name: str) -> Any:
    if isinstance(default, bool):
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise ValueError(say("{name} is yes or no, not {value!r}.", name=name, value=value))
        return words[str(value).lower()]
    try:
        if isinstance(default, int) and isinstance(value, float) and not value.is_integer():
            raise ValueError("a fraction")
        return type(default)(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            say("{name} must be {what}, not {value!r}.", name=name, what=_WORDS[type(default)], value=value)
        ) from error


_WORDS = {int: say("a whole number"), float: say("a number"), str: say("a word")}
