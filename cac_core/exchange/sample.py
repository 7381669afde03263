"""A sample project that ships with the app and is made on demand: scikit-learn's digits, drawn as ink on paper.

Handwritten digits of 43 people (Alpaydin and Kaynak, UCI, CC BY 4.0), which come with scikit-learn at 8 x 8 pixels.
They are enlarged, inked and put on paper with grain, so that they go the way of photos; they are no photographs.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from cac_core.data import datasets, sources
from cac_core.data.datasets import Trial
from cac_core.exchange import own_data

NAME = "ink-digits"
EACH = 30  # images of a class
SIDE = 96  # pixels
KNOWN = (0, 1, 2, 3, 4, 5)


def make(root: Path) -> str:
    """See to it that the sample is there, with a trial on which it knows 0 to 5; its name."""
    if not (root / NAME).exists():
        counts, classes = sources.counted_digits()
        rng = np.random.default_rng(0)
        upload = own_data.picked({
            str(c): [(f"{n}.jpg", inked(counts[n], rng)) for n in np.flatnonzero(classes == c)[:EACH].tolist()]
            for c in range(10)
        })  # fmt: skip
        settings = {"size": 64, "channels": 3, "flip": False}
        own_data.write(own_data.check(upload), upload, root, NAME, settings)
        unknown = tuple(c for c in range(10) if c not in KNOWN)
        trial = Trial(NAME, "custom", own_data.trial_name(root, NAME), KNOWN, unknown)
        own_data.save_trial(trial, datasets.row_of(NAME, root), root)
    return NAME


def inked(counts: np.ndarray, rng: np.random.Generator) -> bytes:
    """A digit, the counts of ink [8, 8] from 0 to 16, as a JPEG of ink on paper."""
    small = Image.fromarray((np.pad(counts, 2) * 255 / 16).astype(np.uint8))  # with a margin of paper
    large = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255
    ink = np.clip((large - 0.45) * 3, 0, 1)[..., None]  # sharper edges than an enlargement has
    paper = rng.uniform(0.82, 0.97, 3) + rng.normal(0, 0.02, (SIDE, SIDE, 1))
    light = 1 - 0.15 * rng.uniform() * np.linspace(0, 1, SIDE)[:, None, None]
    colour = np.array([0.1, 0.12, 0.35]) * rng.uniform(0.6, 1.2)
    picture, file = np.clip((paper * (1 - ink) + colour * ink) * light, 0, 1), io.BytesIO()
    Image.fromarray((255 * picture).astype(np.uint8)).save(file, "JPEG", quality=92)
    return file.getvalue()
