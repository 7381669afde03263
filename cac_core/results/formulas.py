"""Scores in torch, for what takes a graph: a network and a score as one module, and the score's gradient.

They are computed in double precision, as they are in numpy, so that images that many networks are sure of stay apart.
N images, C known classes.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cac_core.networks.inputs import on_device
from cac_core.results import evaluate
from cac_core.runs import Run
from cac_core.scoring.distances import centres_of
from cac_core.scoring.logits import likeliest_temperature
from cac_core.scoring.scorers import scorer_options


def _share(z: Tensor, temperature: float) -> Tensor:
    """1 - the largest softmax, added up from the others."""
    return (z / temperature).softmax(1).sort(1).values[:, :-1].sum(1)


def _gen(z: Tensor, power: float, top: int) -> Tensor:
    p = z.softmax(1).sort(1).values
    rest = torch.cat([1 - p[:, :-1], p[:, :-1].sum(1, keepdim=True)], 1)
    return ((p * rest)[:, -top:] ** power).sum(1)


def _margin(z: Tensor) -> Tensor:
    two = z.sort(1).values[:, -2:]
    return two[:, 0] - two[:, 1]


# of logits [N, C] in double precision; each as the scorer of this name in scoring/logits.py
FORMULAS = {
    "msp": lambda z, o: _share(z, o["temperature"]),
    "temperature_scaling": lambda z, o: _share(z, o["temperature"]),
    "max_logit": lambda z, o: -z.amax(1),
    "energy": lambda z, o: -o["temperature"] * (z / o["temperature"]).logsumexp(1),
    "entropy": lambda z, o: -(z.log_softmax(1).exp() * z.log_softmax(1)).sum(1),
    "gen": lambda z, o: _gen(z, o["power"], o["top"]),
    "margin": lambda z, o: _margin(z),
}


def _unknown_class(z: Tensor, dummy: Tensor) -> Tensor:
    shares = torch.cat([z, dummy], 1).softmax(1)
    return shares[:, -1] - shares[:, :-1].amax(1)


BY_DUMMIES = {  # of the logits and the largest dummy logit [N, 1]; as the scorers in scoring/features.py
    "unknown_class": _unknown_class,
    "placeholder": lambda z, dummy: dummy[:, 0] - z.amax(1),
}
BY_DISTANCES = ("gamma", "distance")


class Scoring(nn.Module):
    """A network and a score in one. centres [C, C] are those of the gammas, whatever the score is; dummies are those of
    the outputs, None where the score reads none."""

    def __init__(
        self, network: evaluate.Network, scorer: str, options: dict[str, Any], centres: np.ndarray,
        dummies: np.ndarray | None = None,
    ):  # fmt: skip
        super().__init__()
        self.network, self.method, self.scorer, self.options = network, network.method, scorer, options
        self.register_buffer("centres", torch.as_tensor(centres, dtype=torch.float64))
        self.register_buffer("dummies", None if dummies is None else torch.as_tensor(dummies, dtype=torch.float64))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Of images [N, H, W, K] uint8: logits, distances and gammas, score and label."""
        return self.judged(image.permute(0, 3, 1, 2).float() / 255)

    def judged(self, x: Tensor) -> tuple[Tensor, ...]:
        """The same of images [N, K, H, W] on the scale 0 to 1."""
        logits, features = self.network(x)
        z = logits.double()
        d = (z[:, None] - self.centres).square().sum(-1).sqrt()
        gamma = d * (1 - (-d / self.options.get("temperature", 1.0) if self.scorer == "gamma" else -d).softmax(1))
        if self.scorer in BY_DISTANCES:
            near = gamma if self.scorer == "gamma" else d
            score, label = near.amin(1), near.argmin(1)
        elif self.scorer in BY_DUMMIES:
            dummies = self.method.pooled(features).double() @ self.dummies[:, :-1].T + self.dummies[:, -1]
            score, label = BY_DUMMIES[self.scorer](z, dummies.amax(1, keepdim=True)), z.argmax(1)
        else:
            score, label = FORMULAS[self.scorer](z, self.options), z.argmax(1)
        return logits, d.float(), gamma.float(), score, label


def of_run(run: Run, network: evaluate.Network, scorer: str, options: dict[str, Any]) -> Scoring:
    """A run's network with a score that is one of scorers.DIFFERENTIABLE."""
    train, options = run.outputs("train"), scorer_options(scorer) | options
    if scorer == "temperature_scaling":
        validation = run.outputs("validation")
        known = validation.labels >= 0
        options["temperature"] = likeliest_temperature(validation.logits[known], validation.labels[known])
    centres = centres_of(train, options.get("centres", "means"))
    return Scoring(network, scorer, options, centres, train.dummies).to(network.device).eval()


def gradient(scoring: Scoring, pixels: np.ndarray) -> np.ndarray:
    """By how much the score grows with each pixel [N, H, W, K] of images uint8, on the scale 0 to 1.

    One forward and one backward; no parameter gets a gradient.
    """
    evaluate.need_gradient(scoring.network)
    x = (on_device(pixels, scoring.network.device).float() / 255).requires_grad_()
    score = scoring.judged(x)[3]
    (found,) = torch.autograd.grad(score.sum(), x)
    return found.permute(0, 2, 3, 1).cpu().numpy()
