"""Recipes: what their ids are, what they refuse, and that nothing light imports anything heavy."""

import dataclasses
import itertools
import json
import math
import re
import subprocess
import sys

import pytest

from cac_core import recipe as recipes
from cac_core.recipe import Recipe, compose

# frozen: an id here never changes, or runs on disk lose their recipe
GOLDEN = [
    ({}, "digits-osrci-0-cac-small-s0"),
    ({"seed": 3}, "digits-osrci-0-cac-small-s3"),
    ({"hyper": {"lam": 0.5}}, "digits-osrci-0-cac-small-s0-b681b471"),
    ({"dataset": "MNIST", "backbone": "plain", "epochs": 8, "batch": 128}, "mnist-osrci-0-cac-plain-s0-00aa7380"),
    (
        {
            "dataset": "MNIST",
            "family": "cac-2020",
            "trial": "4",
            "method": "cross_entropy",
            "backbone": "efficientnet-b0",
        },
        "mnist-cac-2020-4-cross-entropy-efficientnet-b0-s0-adcfe953",
    ),
    (
        {"dataset": "pets", "family": "custom", "trial": "cats", "known": (0, 2), "unknown": (1,)},
        "pets-cats-cac-small-s0-82debc76",
    ),
    (
        {
            "dataset": "MNIST",
            "backbone": "plain",
            "epochs": 35,
            "fine_epochs": 35,
            "schedule": "constant",
            "batch": 128,
            "lr": 0.01,
            "decay": 5e-6,
            "trunk": {"dropout": 0.3},
        },
        "mnist-osrci-0-cac-plain-s0-c27b3b28",
    ),
]
NASTY = [
    "a/b", "a.b", "a b", "../a", "a-b", "A-B", "..", "/", "", "猫和狗", "狗和猫", "🐱", "🐶", "é", "e", "a\nb", "a\0b",
    "x" * 300, "x" * 299 + "y", "-", "--", "con", "CON", "%2e%2e", "~", "$HOME", "\udcff",
]  # fmt: skip


@pytest.mark.parametrize(("fields", "id"), GOLDEN)
def test_ids_stay_what_they_were(fields, id):
    assert Recipe(**fields).id == id


@pytest.mark.parametrize("field", ["dataset", "family", "trial", "method", "backbone"])
def test_nasty_names_give_plain_and_different_ids(field):
    ids = [Recipe(**{field: name}).id for name in NASTY]
    assert all(re.fullmatch(r"[a-z0-9-]{1,64}", id) for id in ids)
    assert len(set(ids)) == len(NASTY)


@pytest.mark.parametrize("name", NASTY)
def test_a_name_moved_to_another_field_gives_another_id(name):
    ids = {Recipe(**{field: name}).id for field in ("dataset", "trial", "backbone")}
    assert len(ids) == 3


def test_all_fields_at_their_longest_stay_within_64_letters():
    long = Recipe(
        **dict.fromkeys(("dataset", "family", "trial", "method", "backbone"), "w" * 99), seed=10**12, epochs=9
    )
    assert re.fullmatch(r"[a-z0-9-]{1,64}", long.id)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 123456}, {"seed": 123457}),
        ({"seed": 10000}, {"seed": 100000}),
        ({"seed": 0}, {"seed": 10**9}),
        ({"dataset": "pets", "trial": "cats-small"}, {"dataset": "pets-cats", "trial": "small"}),
        ({"dataset": "pets", "trial": "osrci-0"}, {"dataset": "pets-osrci", "trial": "0"}),
        ({"trial": "a", "known": (0, 1)}, {"trial": "a", "known": (0, 2)}),
        ({"lr": 0.1}, {"lr": 0.2}),
    ],
)
def test_different_recipes_have_different_ids(one, other):
    one, other = Recipe(family="custom", **one), Recipe(family="custom", **other)
    assert one != other
    assert one.id != other.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"lr": 1}, {"lr": 1.0}),
        ({"decay": 0}, {"decay": 0.0}),
        ({"decay": -0.0}, {"decay": 0.0}),
        ({"hyper": {"lam": 1}}, {"hyper": {"lam": 1.0}}),
        ({"hyper": {"alpha": 5.0, "lam": 1.0}}, {"hyper": {"lam": 1.0, "alpha": 5.0}}),
        ({"known": [0, 1]}, {"known": (0, 1)}),
        ({"trial": 2}, {"trial": "2"}),
    ],
)
def test_equal_recipes_have_one_id(one, other):
    one, other = Recipe(**one), Recipe(**other)
    assert one == other
    assert one.id == other.id


@pytest.mark.parametrize("fields", [fields for fields, _ in GOLDEN])
def test_a_recipe_comes_back_from_json_the_same(fields):
    recipe = Recipe(**fields)
    back = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert back == recipe
    assert back.id == recipe.id


def test_an_older_record_without_a_newer_field_is_the_default():
    record = Recipe(seed=4).to_json()
    del record["precision"], record["trunk"]
    assert Recipe.from_json(record) == Recipe(seed=4)


BAD = [
    ({"schedule": "cosine"}, "no schedule 'cosine'; there are: onecycle, triangle, constant"),
    ({"precision": "float16"}, "no precision 'float16'; there are: auto, float32, bfloat16"),
    ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
    ({"epochs": 1.5}, "epochs must be a whole number of at least 1, not 1.5"),
    ({"epochs": "8"}, "epochs must be a whole number of at least 1, not '8'"),
    ({"fine_epochs": -1}, "fine_epochs must be a whole number of at least 0"),
    ({"batch": 1}, "batch must be a whole number of at least 2, not 1"),
    ({"size": -4}, "size must be a whole number of at least 0"),
    ({"seed": -1}, "seed must be a whole number of at least 0"),
    ({"lr": 0}, "lr must be a positive number, not 0"),
    ({"lr": -0.1}, "lr must be a positive number"),
    ({"lr": math.nan}, "lr must be a positive number, not nan"),
    ({"lr": math.inf}, "lr must be a positive number, not inf"),
    ({"decay": -1e-9}, "decay must be a non-negative number"),
    ({"momentum": math.nan}, "momentum must be a non-negative number"),
]


@pytest.mark.parametrize(("fields", "says"), BAD)
def test_a_bad_field_is_named_with_its_value(fields, says):
    with pytest.raises(ValueError, match=says):
        Recipe(**fields)
    with pytest.raises(ValueError, match=says):
        Recipe.from_json(fields)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ([], "JSON object, not list"),
        (None, "JSON object, not NoneType"),
        ({"lernrate": 1}, "no recipe field lernrate; it knows dataset, family"),
        ({"lr": "fast"}, "cannot be read|lr must be"),
        ({"lr": None}, "cannot be read|lr must be"),
        ({"known": 5}, "cannot be read|known"),
        ({"known": ["a", "b"]}, "known"),
        ({"hyper": [1]}, "hyper"),
        ({"dataset": 5}, "dataset"),
        ({"dataset": "d" * 1001}, "dataset must be a name"),
        ({"trial": None}, "trial must be a name, not None"),
        ({"trial": [1]}, "trial must be a name"),
        ({"schedule": []}, "There is no schedule"),
        ({"epochs": True}, "epochs must be a whole number of at least 1, not True"),
        ({"epochs": 10**400}, "epochs must be at most"),
        ({"size": 1025}, "size must be at most 1024"),
        ({"seed": 1e30}, "seed must be a whole number"),
        ({"lr": 10**400}, "lr must be a positive number"),
        ({"hyper": {"alpha": 10**400}}, "alpha must be a number or a word"),
        ({"hyper": {"alpha": math.nan}}, "alpha must be a number or a word, not nan"),
        ({"trunk": {"dropout": []}}, "dropout must be a number or a word"),
        ({"known": [True, 2]}, "known holds class numbers"),
    ],
)
def test_a_record_that_is_no_recipe_says_so(record, says):
    with pytest.raises(ValueError, match=says):
        Recipe.from_json(record)


# --- presets and options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "epochs", "fine_epochs", "decay", "dropout"),
    [
        ("MNIST", 35, 35, 5e-6, 0.2),
        ("SVHN", 50, 25, 5e-6, 0.2),
        ("CIFAR10", 150, 50, 5e-6, 0.2),
        ("CIFAR+10", 150, 50, 5e-4, 0.2),
        ("CIFAR+50", 150, 50, 5e-4, 0.2),
        ("TinyImageNet", 500, 300, 1e-3, 0.3),
    ],
)
def test_the_papers_preset_is_what_was_released_with_the_paper(dataset, epochs, fine_epochs, decay, dropout):
    recipe = compose("paper", dataset=dataset)
    assert (recipe.epochs, recipe.fine_epochs, recipe.decay) == (epochs, fine_epochs, decay)
    assert {**recipes.backbone_options("plain"), **recipe.trunk}["dropout"] == dropout
    assert (recipe.method, recipe.backbone, recipe.schedule) == ("cac", "plain", "constant")
    assert (recipe.batch, recipe.lr, recipe.momentum) == (32 if dataset == "CIFAR+50" else 128, 0.01, 0.9)
    assert recipe.held_out == (0.1 if dataset == "TinyImageNet" else 0.2)
    assert recipes.method_options("cac") == {"alpha": 10.0, "lam": 0.1}
    assert recipe.hyper == {}


def test_the_standard_preset_lies_between_quick_and_paper():
    for dataset in recipes.PAPER:
        quick, standard, paper = (compose(preset, dataset=dataset) for preset in ("quick", "standard", "paper"))
        assert quick.epochs < standard.epochs == (paper.epochs + paper.fine_epochs) // 2, dataset
        assert standard.fine_epochs == 0
        assert (standard.backbone, standard.trunk, standard.schedule) == ("plain", paper.trunk, "onecycle")
    assert compose().epochs < compose("standard").epochs == 60 and compose("standard").backbone == "small"


@pytest.mark.parametrize("name", ["MNIST", "CIFAR10", "TinyImageNet"])
def test_the_reports_presets_are_its_networks_on_the_papers_schedule(name):
    recipe, paper = compose(f"report-{name.lower()}", dataset=name), compose("paper", dataset=name)
    assert recipe.backbone == {"MNIST": "efficientnet-b2"}.get(name, "efficientnet-b5") and recipe.trunk == {}
    assert dataclasses.replace(recipe, backbone="plain", trunk=paper.trunk) == paper


@pytest.mark.parametrize("preset", recipes.PRESETS)
def test_what_the_user_says_goes_before_the_preset(preset):
    recipe = compose(preset, dataset="MNIST", epochs=3, lr=None)
    assert recipe.epochs == 3
    assert recipe.lr == compose(preset, dataset="MNIST").lr


def test_the_defaults_are_the_quick_preset_on_digits():
    assert compose() == Recipe()


def test_saying_a_default_makes_no_other_run():
    assert compose(options={"lam": "0.1", "dropout": recipes.backbone_options("small")["dropout"]}) == Recipe()


def test_options_go_to_the_method_or_the_backbone_that_has_them():
    recipe = compose(options={"lam": "0.5", "dropout": "0"})
    assert (recipe.hyper, recipe.trunk) == ({"lam": 0.5}, {"dropout": 0.0})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: compose("slow"), "no preset 'slow'; there are: quick, standard, fast, paper"),
        (lambda: compose(method="cacc"), "no method 'cacc'; there are: cac, cross_entropy"),
        (lambda: compose(backbone="resnet"), "no backbone 'resnet'; there are: small, plain, fast, efficientnet-b0"),
        (lambda: compose(options={"lamda": 1}), "cac on small has no option lamda; it takes alpha, lam, dropout"),
        (lambda: compose(method="cross_entropy", options={"lam": 1}), "has no option lam; it takes smoothing, dropout"),
        (lambda: compose(options={"lam": "much"}), "lam must be a number, not 'much'"),
        (lambda: compose(options={"lam": None}), "lam must be a number, not None"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_right_ones(call, says):
    with pytest.raises(ValueError, match=says):
        call()


OUT_OF_RANGE = [
    ("small", "dropout", [1.0, 1.5, -0.1, math.nan], [0.0, 0.99]),
    ("wide_resnet-40-2", "dropout", [1.0, -1.0], [0.0, 0.5]),
    ("efficientnet-b0", "input_size", [31, 1025, 0], [32, 64]),
    ("resnet18", "stem", ["tiny", ""], ["small", "original"]),
    ("small", "alpha", [0.0, -3.0, math.inf, math.nan], [0.1]),
    ("efficientnet-lite0", "thaw", [-1, 3], [0, 2]),
    ("efficientnet-lite0", "crops", [-1, 9], [0, 8]),
    ("small", "lam", [-0.1, math.inf, math.nan], [0.0, 5.0]),
]


@pytest.mark.parametrize(("backbone", "name", "wrong", "right"), OUT_OF_RANGE)
def test_an_option_out_of_range_is_named_before_any_network_is_built(backbone, name, wrong, right):
    from cac_core.results import evaluate

    for value in wrong:
        with pytest.raises(ValueError, match=name):
            compose(backbone=backbone, options={name: value})
        where = "hyper" if name in ("alpha", "lam") else "trunk"
        with pytest.raises(ValueError, match=name):  # and the network itself draws the same line
            evaluate.build(Recipe(backbone=backbone, **{where: {name: value}}), 3, 1, 32)
    for value in right:
        recipe = compose(backbone=backbone, options={name: value})
        evaluate.build(recipe, 3, 1, 32)


def test_every_number_and_word_among_the_options_has_its_limits():
    every = {}
    for names, options in ((recipes.METHODS, recipes.method_options), (recipes.BACKBONES, recipes.backbone_options)):
        for name in names:
            every |= options(name)
    assert {name for name, value in every.items() if not isinstance(value, bool)} <= {*recipes.RANGES, *recipes.CHOICES}


ALLOWED = {"count": 3, "share": 0.5, "name": "a", "on": False}


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ({"count": "7"}, 7),
        ({"share": "2"}, 2.0),
        ({"share": 1}, 1.0),
        ({"name": 5}, "5"),
        *[({"on": word}, True) for word in ("true", "YES", 1, True)],
        *[({"on": word}, False) for word in ("False", "no", "0", False)],
    ],
)
def test_an_option_takes_the_type_of_its_default(given, becomes):
    got = recipes.checked_options("it", ALLOWED, given)
    assert got == dict.fromkeys(given, becomes)
    assert type(*got.values()) is type(becomes)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"count": "7.5"}, "it's count must be a whole number, not '7.5'"),
        ({"count": 7.5}, "it's count must be a whole number, not 7.5"),
        ({"count": math.inf}, "it's count must be a whole number, not inf"),
        ({"share": "half"}, "it's share must be a number, not 'half'"),
        ({"on": "maybe"}, "it's on is yes or no, not 'maybe'"),
        ({"of": 1, "ab": 2}, "it has no option ab, of; it takes count, share, name, on"),
    ],
)
def test_an_option_of_the_wrong_type_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        recipes.checked_options("it", ALLOWED, given)


@pytest.mark.parametrize("name", recipes.METHODS)
def test_every_methods_options_can_be_read_without_importing_it(name):
    assert all(type(v) in (bool, int, float, str) for v in recipes.method_options(name).values())


@pytest.mark.parametrize("name", recipes.BACKBONES)
def test_every_backbones_options_can_be_read_without_importing_it(name):
    assert all(type(v) in (bool, int, float, str) for v in recipes.backbone_options(name).values())


def test_no_method_shares_an_option_name_with_a_backbone():
    # compose tells them apart by name alone
    for method, backbone in itertools.product(recipes.METHODS, recipes.BACKBONES):
        assert not set(recipes.method_options(method)) & set(recipes.backbone_options(backbone))


# --- what an import costs --------------------------------------------------------------------------------------------

LIGHT = ["recipe", "data.datasets", "scoring.scorers", "scoring.metrics", "runs", "results.judge"]
HEAVY = ["torch", "torchvision", "umap", "sklearn", "scipy", "streamlit", "pandas", "plotly", "tensorboard"]


def test_what_reads_runs_is_imported_without_anything_heavy():
    imports = "; ".join(f"import cac_core.{module}" for module in LIGHT)
    script = f"import sys; {imports}; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_seed_is_one_that_epochs_can_be_numbered_by():
    with pytest.raises(ValueError, match="seed must be at most 1000000000000"):
        compose(seed=10**12 + 1)
    torch = pytest.importorskip("torch")
    torch.Generator().manual_seed(10**12 * 1_000_003 + 10**6)
