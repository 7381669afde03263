"""Losses: tensors in, a dictionary of terms out; "total" is what is minimised. Torch, and nothing of ours.

N images, C known classes. Logits [N, C] are float32: half precision ends before them.
"""

import math

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


def sup_con(z: Float[Tensor, "M D"], target: Int[Tensor, " M"], *, temperature: float) -> Float[Tensor, ""]:
    """Supervised contrastive loss over M views at unit length. Khosla et al., NeurIPS 2020, equation 2 (L_out).

    The mean over all views i of -mean over the others p of i's class of log(exp(s_ip) / sum over a != i of exp(s_ia)),
    s = z z' / temperature, times temperature / 0.07 as in their code. A view that is alone in its class has none.
    """
    alone = torch.eye(len(z), dtype=torch.bool, device=z.device)
    similar = (z @ z.T / temperature).masked_fill(alone, -torch.inf)
    share = similar - similar.logsumexp(1, keepdim=True)
    positive = (target[:, None] == target) & ~alone
    count = positive.sum(1)
    mean = share.masked_fill(~positive, 0).sum(1) / count.clamp_min(1)
    return -mean[count > 0].mean() * (temperature / BASE) if (count > 0).any() else z.sum() * 0


BASE = 0.07  # the temperature that the rate of SupCon was tuned for; others scale the loss


def moved_prototypes(
    prototypes: Float[Tensor, "C D"], z: Float[Tensor, "M D"], target: Int[Tensor, " M"], *, ema: float
) -> Float[Tensor, "C D"]:
    """Prototypes after one batch: for each view in turn mu_y = unit(ema mu_y + (1 - ema) z). Ming et al., ICLR 2023.

    Gradients go through the whole chain. The classes do not touch one another, so that all go one view on at a time:
    as many steps as the largest class has views.
    """
    order = torch.argsort(target, stable=True)
    counts = torch.bincount(target, minlength=len(prototypes))
    starts = counts.cumsum(0) - counts
    moved = prototypes
    for turn in range(int(counts.max())):
        has = counts > turn
        own = z[order[(starts + turn).clamp_max(len(z) - 1)]]
        moved = torch.where(has[:, None], F.normalize(ema * moved + (1 - ema) * own), moved)
    return moved


def dispersion(prototypes: Float[Tensor, "C D"], *, temperature: float) -> Float[Tensor, ""]:
    """mean over i of log(mean over j != i of exp(mu_i . mu_j / temperature)). Ming et al., ICLR 2023, equation 5."""
    count = len(prototypes)
    own = torch.eye(count, dtype=torch.bool, device=prototypes.device)
    similar = (prototypes @ prototypes.T / temperature).masked_fill(own, -torch.inf)
    return (similar.logsumexp(1) - math.log(count - 1)).mean()


def one_vs_rest(logits: Float[Tensor, "N C"], target: Int[Tensor, " N"]) -> Float[Tensor, ""]:
    """mean over images and classes of log(1 + exp(-t logit)), t = 1 for the own class and -1 for the others.

    As the code of Neal et al., ECCV 2018, trains its first classifier. Each logit is told from 0, which softmax
    cross-entropy leaves free.
    """
    sign = 2 * F.one_hot(target, logits.shape[1]) - 1
    return F.softplus(-sign * logits).mean()


def with_unknown(logits: Float[Tensor, "N C"]) -> Float[Tensor, "N C+1"]:
    """The logits, and behind them that of one further class, which is 0."""
    return F.pad(logits, (0, 1))


def of_unknown(logits: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """log(1 + sum over k of exp(logit_k)): each image's cross-entropy with the class of unknowns, whose logit is 0.

    Neal et al., ECCV 2018.
    """
    return with_unknown(logits).logsumexp(1)
