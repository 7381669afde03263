"""What some methods alone have to show, from a run's outputs: virtual outliers, and directions on a sphere. Numpy only.

N images, C known classes, D features, P numbers in a prototype.
"""

from dataclasses import dataclass

import numpy as np

from cac_core.results.project import Linear, pca
from cac_core.scoring.features import featured
from cac_core.scoring.outputs import Outputs

# --- virtual outliers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaussians:
    """One a class: means [C, D], and factor [D, D], of which factor factor' is the covariance that all share."""

    means: np.ndarray
    factor: np.ndarray

    def outliers(self, each: int, draws: int, rng: np.random.Generator) -> np.ndarray:
        """So many virtual outliers of each class [C, each, D]: of `draws` draws, each time, the least likely.

        A draw is mean + factor e, with e standard normal; the longest e is the least likely. Its direction is any, and
        its squared length the largest of so many chi-squared numbers, so that the others need not be drawn.
        """
        count, width = self.means.shape
        e = rng.normal(size=(count, each, width))
        longest = np.sqrt(rng.chisquare(width, (count, each, draws)).max(2))
        e *= (longest / np.linalg.norm(e, axis=2))[..., None]
        return self.means[:, None] + e @ self.factor.T

    def distances(self, features: np.ndarray) -> np.ndarray:
        """The Mahalanobis distances [N, C] of features [N, D] to the class means."""
        whiten = np.linalg.inv(self.factor).T
        x, centres = features.astype(np.float64) @ whiten, self.means @ whiten
        square = (x**2).sum(1)[:, None] - 2 * x @ centres.T + (centres**2).sum(1)
        return np.sqrt(np.maximum(square, 0))


def gaussians(train: Outputs) -> Gaussians:
    """VOS's own, of all training images in the place of its queues: 1e-4 is added to each variance.

    Du et al., ICLR 2022. Raises ValueError where outputs were kept without features.
    """
    mine = ~featured(train).mirrored
    features, labels = train.features[mine].astype(np.float64), train.labels[mine]
    means = np.array([features[labels == c].mean(0) for c in range(train.logits.shape[1])])
    centred = features - means[labels]
    covariance = centred.T @ centred / len(centred)
    covariance[np.diag_indices(len(covariance))] += 1e-4
    return Gaussians(means, np.linalg.cholesky(covariance))


def mixtures(train: Outputs, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many mixtures [M, D] of the features of two training images of different classes, in any proportion.

    As PROSER makes its placeholders (Zhou et al., CVPR 2021), which mixes the maps before the last stage.
    """
    mine = np.flatnonzero(~featured(train).mirrored)
    one, other = mine[rng.integers(0, len(mine), (2, count))]
    apart = train.labels[one] != train.labels[other]
    share = rng.random((count, 1))[apart]
    return share * train.features[one[apart]] + (1 - share) * train.features[other[apart]]


def between(distances: np.ndarray, share: float = 0.8) -> float:
    """Of distances [N, C] to classes the share for which the nearest is not much nearer than the second: 80 % of it."""
    near = np.sort(distances, 1)
    return float((near[:, 0] > share * near[:, 1]).mean())


def flat(train: Outputs) -> Linear:
    """The two directions in which the training features spread the most."""
    mine = featured(train).features[~train.mirrored]
    return pca(mine, mine[:0])


# --- on the sphere ---------------------------------------------------------------------------------------------------


def angles(prototypes: np.ndarray) -> np.ndarray:
    """In degrees, between each two of prototypes [C, P] of length 1: [C, C]."""
    return np.degrees(np.arccos(np.clip(prototypes @ prototypes.T, -1, 1)))


def simplex(classes: int) -> float:
    """The cosine between each two of so many directions that are as far apart as can be: -1 / (C - 1)."""
    return -1 / (classes - 1)


def from_above(prototypes: np.ndarray, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three prototypes [3, P] and images, by their cosines [N, 3] to them, seen from above the prototypes' plane.

    Places [3, 2] and [N, 2] within the unit circle, the first prototype's on the first axis and the second's on the
    positive side of it. The plane is the one through 0 that is nearest to the prototypes; three that are as far apart
    as can be lie in it, on the circle. An image's direction lies on the unit sphere; how high it stands above the plane
    is sqrt(1 - |place|^2), in whatever further directions there are. By the singular values M = U S V' of the
    prototypes, places are the cosines times U / S, in the first two.
    """
    u, s, _ = np.linalg.svd(prototypes.astype(np.float64), full_matrices=False)
    spread = s[:2] > 1e-6  # of prototypes that all are one there is no second direction
    first, second = (u[:, :2] * s[:2])[:2]
    along = first / (np.linalg.norm(first) or 1)
    across = np.array([-along[1], along[0]])
    turned = np.column_stack([along, across if second @ across >= 0 else -across])
    return u[:, :2] * s[:2] @ turned, cosines @ (u[:, :2] * (spread / np.where(spread, s[:2], 1))) @ turned
