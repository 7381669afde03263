"""What the app shows of an image, saved and judged again: how many decisions change, and how many knowns are kept.

PYTHONPATH=. python benchmarks/uploads.py [--most 2000] [--data DIR]

The test images of the bundled runs (digits: all; the others: a sample) are enlarged to 128 pixels, as the app does it,
and come back as a PNG; as a JPEG of it; and as a screenshot of it, 92 pixels wide on a screen of 1.5 points a pixel.
"Before" is how pictures were brought to size until November 2026: by Pillow's bilinear filter, whatever they were.
Pictures are taken as pictures; drawing.py has what is drawn. By gamma, theta by the run's rule.
"""

import argparse
import io
from pathlib import Path

import machine
import numpy as np
from PIL import Image

from cac_core import runs
from cac_core.data import datasets, images
from cac_core.results import evaluate, judge

HERE = Path(__file__).parent.parent
RUNS = ("digits-osrci-0-cac-small-s0", "mnist-osrci-0-cac-plain-s0-5ee7dbb1", "cifar10-osrci-0-cac-plain-s0-fbb51db0")
BILINEAR = Image.Resampling.BILINEAR


def shown(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).resize(
        (128, 128), Image.Resampling.NEAREST
    )


def saved(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


KINDS = {
    "as saved": lambda image: saved(shown(image)),
    "as a JPEG": lambda image: saved(shown(image), "JPEG"),
    "from the screen": lambda image: saved(shown(image).resize((138, 138), BILINEAR)),
}


def before(content: bytes, row: images.Format) -> np.ndarray:
    picture = Image.open(io.BytesIO(content))
    for side in (row.grain, row.size):
        picture = picture.resize((side, side), BILINEAR)
    return np.asarray(picture).reshape(row.size, row.size, row.channels)


def now(content: bytes, row: images.Format) -> np.ndarray:
    return images.prepare(content, row, "picture").pixels


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=2000, help="test images of a run")
    parser.add_argument("--data", type=Path, default=datasets.root_of())
    a = parser.parse_args()
    print(machine.described())
    for name in RUNS:
        run = runs.Run(HERE / "checkpoints" / name)
        network, test = evaluate.load(run, "cpu"), datasets.load(run.recipe.dataset, a.data, run.recipe.size)["test"]
        some = test.only(np.sort(np.random.default_rng(0).permutation(len(test))[: a.most]))
        known = np.isin(some.classes, run.trial.known)

        def decided(pixels: np.ndarray, run=run, network=network) -> np.ndarray:
            return np.array([one["decision"] for one in judge.said_of(run, *network.outputs(pixels), "gamma")])

        first = decided(some.pixels)
        print(f"{name}: {len(some)} images, {np.mean(first[known] != judge.UNKNOWN):.1%} of the knowns kept")
        for kind, make in KINDS.items():
            files = [make(image) for image in some.pixels]
            for way in (before, now):
                again = decided(np.stack([way(content, run.row) for content in files]))
                print(
                    f"  {kind:15} {way.__name__:6} {np.mean(again != first):6.1%} of the decisions are others, "
                    f"{np.mean(again[known] != judge.UNKNOWN):6.1%} of the knowns kept"
                )
