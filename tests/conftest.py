"""Fixtures that several test files share: a run store, real data, folders of generated images, toy outputs and runs."""
# ruff: noqa: E402

import ctypes
import functools
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run side by side, and so do the processes that they start

from pathlib import Path

from jaxtyping import install_import_hook

# every shape in a signature is checked while the tests run
install_import_hook(["cac_core.networks", "cac_core.training.batches"], "beartype.beartype")

import numpy as np
import pytest
from PIL import Image

from cac_core import runs
from cac_core.recipe import Recipe
from cac_core.scoring.outputs import Outputs
from cac_core.scoring.scorers import BY_LATENTS
from tests.waiting import Gates

ALPHA = 10.0


@pytest.fixture
def store(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def gates(tmp_path_factory):
    """Gates at the ends of epochs, for training processes that are started with gates.environment."""
    return Gates(tmp_path_factory.mktemp("gates") / "gates")


@pytest.fixture(scope="session")
def two_nodes(tmp_path_factory):
    """Slurm's daemons, of two nodes."""
    from tests.jobs.slurm_here import Slurm, lacking

    if why := lacking():
        pytest.skip(why)
    here = Slurm(tmp_path_factory.mktemp("slurm"), nodes=2)
    try:
        here.start()
        try:
            here.until_idle()
        except TimeoutError as error:
            pytest.skip(f"Slurm does not come up on this machine: {error}")
        yield here
    finally:
        here.end()


@pytest.fixture
def slurm(two_nodes, monkeypatch):
    """The cluster "slurm", of two nodes."""
    for name, value in two_nodes.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", "slurm")
    monkeypatch.setattr("cac_core.jobs.clusters.EVERY", 0.2)
    return two_nodes


REAL = os.environ.get("ANCHORSCOPE_DATA")


@pytest.fixture(scope="session", autouse=True)
def no_other_data():
    """Where the real data sets lie is for the tests that ask for them; others name a data root of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANCHORSCOPE_DATA", raising=False)
        yield


@pytest.fixture(scope="session")
def data_root():
    """Where the real data sets lie."""
    if not REAL:
        pytest.skip("ANCHORSCOPE_DATA names no folder of real data")
    return Path(REAL)


@pytest.fixture
def closed():
    """`closed(path, mode)` makes a path somebody else's, of whose mode the bits for others count.

    Root, who may read everything, has this right no more until the test ends; nor have threads that begin meanwhile.
    """
    root, given = os.geteuid() == 0, (ctypes.c_uint32 * 6)()
    if root and not sys.platform.startswith("linux"):
        pytest.skip("root may read everything here")
    if root:
        system, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert system.capget(header, given) == 0
        fewer = (ctypes.c_uint32 * 6)(*given)
        fewer[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of those in effect
        assert system.capset(header, fewer) == 0
    made = []

    def close(path: Path, mode: int) -> None:
        made.append(path)
        path.chmod(mode if root else 0o111 * (mode & 7))
        if root:
            os.chown(path, 65534, 65534)

    yield close
    if root:
        system.capset(header, given)
    for path in made:
        path.chmod(0o777)


@pytest.fixture
def image_folder(tmp_path):
    """image_folder("pets", {"cat": 5, "dog": 5}, part="train"): noise PNGs in tmp_path/data, a colour for each class.

    Gives the data root. part="" puts the class folders right below the data set.
    """

    def make(name: str, counts: dict[str, int], part: str = "", side: int = 12, seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        for c, (cls, count) in enumerate(counts.items()):
            folder = tmp_path / "data" / name / part / cls
            folder.mkdir(parents=True)
            colour = np.array([(40 + 70 * c) % 256, (200 - 50 * c) % 256, (90 * c) % 256])
            for i in range(count):
                pixels = np.clip(colour + rng.integers(-30, 30, (side, side, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03}.png")
        return tmp_path / "data"

    return make


@pytest.fixture
def toy_outputs():
    """toy_outputs(seed=0, known=60, unknown=30): outputs around the anchors, unknowns near the origin, with ties.

    Logits are rounded to halves and some images come twice, so that scores tie within and across the two sides. A few
    known images lie at a wrong anchor. Features are positive, about 8 e_c of the same class, those of unknowns about 0
    but for the last, where the one dummy head gives most. The head gives about the anchors of these features. Latents,
    of which there are none unless asked for, are as far from 0 as the class has a number.
    """

    def make(
        seed: int = 0, known: int = 60, unknown: int = 30, classes: int = 4, spread: float = 2.5, latents: int = 0
    ) -> Outputs:
        rng = np.random.default_rng(seed)
        anchors = ALPHA * np.eye(classes, dtype=np.float32)
        labels = np.r_[np.arange(known) % classes, np.full(unknown, -1)].astype(np.int64)
        at = labels.copy()
        at[rng.random(len(at)) < 0.1] = 0
        near = np.where(labels[:, None] >= 0, anchors[at], 1.5)
        logits = (2 * (near + rng.normal(0, spread, near.shape))).round() / 2
        if known and unknown:
            logits[-1] = logits[0]  # an unknown that looks exactly like a known
        n = known + unknown
        features = np.abs(rng.normal(size=(n, 6))).astype(np.float32)
        features[np.flatnonzero(labels >= 0), at[labels >= 0] % 6] += 8
        features[labels < 0, 5] += 4
        codes = np.maximum(rng.normal(size=(n, latents)) + labels[:, None], 0).astype(np.float32)
        return Outputs(
            logits.astype(np.float32), np.column_stack([features, codes]), labels, labels % 10, np.arange(n),
            np.zeros(n, bool), anchors, latents=latents,
            dummies=np.r_[np.full(6, -0.5), 0.0][None].astype(np.float32),
            head=np.column_stack([1.25 * np.eye(classes, 6), np.full(classes, 0.5)]).astype(np.float32),
        )  # fmt: skip

    return make


@pytest.fixture
def toys_for(toy_outputs):
    """toys_for(name): toy_outputs with latents for a scorer that reads them."""
    return lambda name: functools.partial(toy_outputs, latents=2 if name in BY_LATENTS else 0)


@pytest.fixture
def make_run(store, toy_outputs):
    """make_run(unknown=30): a finished run on four known digits, with toy outputs, as training would have left it."""

    def make(
        name: str = "toy", unknown: int = 30, method: str = "cac", state: str = "finished", latents: int = 0
    ) -> runs.Run:
        run = runs.Run(store / name)
        recipe = Recipe(family="custom", trial="toy", method=method, known=(0, 1, 2, 3), unknown=(4, 5))
        runs.write_json(
            run.path / "recipe.json",
            {
                "recipe": recipe.to_json(),
                "classes": {"known": [0, 1, 2, 3], "unknown": [4, 5], "names": list("0123456789")},
                "prepare": {"size": 16, "grain": 8, "channels": 1, "ink": True},
                "mean": [0.3],
                "std": [0.4],
            },
        )
        runs.write_json(run.path / "status.json", {"state": state})
        for seed, (split, strangers) in enumerate({"train": 0, "validation": 0, "test": unknown}.items()):
            out = toy_outputs(seed=seed, known=320 if split == "train" else 80, unknown=strangers, latents=latents)
            arrays = {k: v for k, v in vars(out).items() if v is not None and (method == "cac" or k != "anchors")}
            runs.write_npz(run.path / "outputs" / f"{split}.npz", **arrays)
        return run

    return make


@pytest.fixture
def many(store):
    """many(200): a run of so many known classes with outputs near the anchors, kept as narrow as evaluation does."""

    def make(classes: int, each: int = 2, unknown: int = 60) -> runs.Run:
        run, rng = runs.Run(store / f"many{classes}"), np.random.default_rng(classes)
        known, strangers = list(range(classes)), [classes, classes + 1]
        recipe = Recipe(family="custom", trial="many", known=tuple(known), unknown=tuple(strangers))
        runs.write_json(
            run.path / "recipe.json",
            {
                "recipe": recipe.to_json(),
                "classes": {"known": known, "unknown": strangers, "names": [f"class {c}" for c in range(classes + 2)]},
                "prepare": {"size": 16, "grain": 8, "channels": 1, "ink": True},
                "mean": [0.3], "std": [0.4],
            },
        )  # fmt: skip
        runs.write_json(run.path / "status.json", {"state": "finished"})
        anchors = 10 * np.eye(classes, dtype=np.float32)
        for split, count in {"train": each, "validation": 1, "test": 1}.items():
            labels = np.r_[np.tile(known, count), np.full(unknown * (split == "test"), -1)]
            n = len(labels)
            logits = np.where(labels[:, None] >= 0, anchors[labels], 0.4) + rng.normal(0, 0.3, (n, classes))
            out = Outputs(
                logits.astype(np.float32), rng.normal(size=(n, 6)).astype(np.float32), labels,
                np.where(labels < 0, classes, labels), np.arange(n), np.zeros(n, bool), anchors,
            )  # fmt: skip
            narrow = {name: getattr(out, name).astype(np.int16) for name in ("labels", "classes")}
            held = {name: value for name, value in vars(out).items() if value is not None}
            runs.write_npz(run.path / "outputs" / f"{split}.npz", **held | narrow)
        return run

    return make
