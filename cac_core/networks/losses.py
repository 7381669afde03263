"""Losses: tensors in, a dictionary of terms out; "total" is what is minimised. Torch, and nothing of ours.

N images, C known classes. Logits [N, C] are float32: half precision ends before them.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def anchors(classes: int, alpha: float) -> Float[Tensor, "C C"]:
    """The anchor of class i is alpha times the i-th unit vector. Miller et al., WACV 2021, section 3."""
    return alpha * torch.eye(classes)


def distances(logits: Float[Tensor, "N C"], centres: Float[Tensor, "K C"]) -> Float[Tensor, "N K"]:
    """Euclidean distances to the centres."""
    # the matrix-product shortcut of cdist is off by 100 % where a logit sits on its anchor
    return torch.cdist(logits, centres, compute_mode="donot_use_mm_for_euclid_dist")


def cac(
    logits: Float[Tensor, "N C"], target: Int[Tensor, " N"], centres: Float[Tensor, "C C"], *, lam: float
) -> dict[str, Float[Tensor, ""]]:
    """Class Anchor Clustering, Miller et al., WACV 2021: total = tuplet + lam * anchor.

    With d the distances to the anchors, the paper's tuplet term, log(1 + sum over j != y of exp(d_y - d_j)), IS
    softmax cross-entropy on -d; in that form it cannot overflow.
    """
    d = distances(logits, centres)
    tuplet, anchor = F.cross_entropy(-d, target), d.gather(1, target[:, None]).mean()
    return {"total": tuplet + lam * anchor, "tuplet": tuplet, "anchor": anchor}


def cross_entropy(
    logits: Float[Tensor, "N C"], target: Int[Tensor, " N"], *, smoothing: float = 0.0
) -> dict[str, Float[Tensor, ""]]:
    """Softmax cross-entropy on the logits, the closed-set baseline.

    With smoothing s the label is 1 - s + s / C, every other class s / C (Szegedy et al., CVPR 2016).
    """
    return {"total": F.cross_entropy(logits, target, label_smoothing=smoothing)}
