"""Several networks as one: what they put out for an image, brought to one vector of logits.

M networks, N images, C known classes, K channels. Either mean is a function of the networks' logits alone, and one that
a gradient goes through: uploads, ODIN and every page take an ensemble for one network.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cac_core.networks import losses
from cac_core.networks.backbones import Backbone
from cac_core.networks.inputs import Stats
from cac_core.networks.methods import Method


def mean_softmax(affinities: Float[Tensor, "M N C"]) -> Float[Tensor, "N C"]:
    """Logits whose softmax is the mean of the networks' softmax, and whose energy is the mean of their energies.

    log(mean of softmax) + mean of logsumexp. Lakshminarayanan et al., NeurIPS 2017.
    """
    shares = F.log_softmax(affinities, 2).logsumexp(0) - math.log(len(affinities))
    return shares + affinities.logsumexp(2).mean(0)[:, None]


def mean_distances(logits: Float[Tensor, "M N C"], alpha: float) -> Float[Tensor, "N C"]:
    """Logits whose distance to each anchor is the root of the mean squared distance of the networks' logits to it.

    The mean squared distance to a point is that of the mean logits, plus their mean squared distance to the mean: where
    the networks disagree, all anchors are farther. The C anchors alpha e_j span a plane in which one direction is
    missing, (1, .., 1): along it, away from the plane, the mean logits are moved until the distances are these.
    """
    mean, count = logits.mean(0), logits.shape[2]
    spread = (logits - mean).square().sum(2).mean(0)
    off = (mean.sum(1) - alpha) / count**0.5  # signed distance to the plane of the anchors
    side = torch.where(off < 0, -1.0, 1.0)
    moved = side * (off.square() + spread).clamp_min(1e-24).sqrt()
    return mean + ((moved - off) / count**0.5)[:, None]


class Ensemble(Method):
    """Networks of one trial as one. Each has its own scale of pixels; x is normalised by own, the first one's.

    With both_ways a network judges by the mean with the mirror image. Its features are those of all, side by side,
    without their latents. An ensemble is made of trained networks and is not trained.
    """

    of_several = True

    def __init__(self, networks: list[Method], scales: list[Stats], both_ways: list[bool], by_distances: bool):
        nn.Module.__init__(self)
        self.networks, self.both_ways, self.backbone = nn.ModuleList(networks), both_ways, Backbone()
        self.sides, self.left_out = nn.ModuleDict(), []
        (mean, std), *_ = scales
        for name, values in {
            "times": [[a / b for a, b in zip(std, s, strict=True)] for _, s in scales],
            "plus": [[(a - b) / c for a, b, c in zip(mean, m, s, strict=True)] for m, s in scales],
        }.items():
            self.register_buffer(name, torch.tensor(values)[:, :, None, None], persistent=False)
        self.alpha = float(networks[0].anchors[0, 0]) if by_distances else None
        if by_distances:
            self.register_buffer("anchors", networks[0].anchors.clone(), persistent=False)

    def forward(self, x: Float[Tensor, "N K H W"]) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N D"]]:
        found = [self._one(number, x) for number in range(len(self.networks))]
        logits, features = zip(*found, strict=True)
        return self.together(torch.stack(logits)), torch.cat(features, 1)

    def _one(self, number: int, x: Tensor) -> tuple[Tensor, Tensor]:
        network = self.networks[number]
        x = x * self.times[number] + self.plus[number]
        ways = [network(x), network(x.flip(3))] if self.both_ways[number] else [network(x)]
        logits = torch.stack([z for z, _ in ways]).mean(0)
        features = torch.stack([network.pooled(f) for _, f in ways]).mean(0)
        return logits, features[:, : features.shape[1] - network.latents]

    def together(self, logits: Float[Tensor, "M N C"]) -> Float[Tensor, "N C"]:
        """One vector of logits an image from those of all networks."""
        if self.alpha is not None:
            return mean_distances(logits, self.alpha)
        pairs = zip(self.networks, logits, strict=True)
        return mean_softmax(torch.stack([network.affinity(z) for network, z in pairs]))

    def affinity(self, logits: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        return logits if self.alpha is None else -losses.distances(logits, self.anchors)
