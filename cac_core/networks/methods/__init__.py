"""Methods: a network and the losses that it is trained by. Importing this module costs torch.

To add one: a class in a file of its own, and a row in recipe.METHODS. Its options are the keyword-only arguments of
its __init__, with defaults.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cac_core.networks.backbones import Backbone
from cac_core.sentences import Sentence

Terms = dict[str, Float[Tensor, ""]]
SIDES = "sides"  # the part of the side heads: it is trained beside the network, and its losses are not reported


class Method(nn.Module):
    """The contract: forward gives logits and features; losses yields its parts' loss terms, one after the other.

    For each part yielded, the loop zeroes its gradients, goes backward from terms["total"] and steps its optimizer.
    criterion names the term that, on the validation images, tells the best epoch (lower is better).
    """

    criterion = "total"
    views = 1  # of each image that a batch holds, each augmented by itself: first all first ones, then all second
    pools = False  # whether the head reads features without their places in the image
    alone = False  # whether its losses need the whole batch in one process
    begins = 0.0  # the share of the training after which all of its loss acts; no epoch before can be the best
    way = 1.0  # the share of the epochs that is behind, which the loop says
    of_several = False  # an ensemble is
    learns = True  # and so gives a gradient; one from an ONNX file does not
    rebuilds = False  # whether it has a `rebuilt`, which gives back the normalised images that it is given
    latents = 0  # so many of the features, the last ones, are latents: the head does not read them
    half: torch.dtype | None = None  # the backbone's type under autocast; None is float32

    def __init__(self, backbone: Backbone, classes: int, *, linear: bool = True):
        """linear: whether a linear head makes the logits; else the subclass does."""
        super().__init__()
        self.backbone = backbone
        if linear:
            self.classify = nn.Linear(self.width, classes)
            nn.init.normal_(self.classify.weight, std=0.01)
            nn.init.zeros_(self.classify.bias)
        self.sides, self.left_out = nn.ModuleDict(), []

    @property
    def width(self) -> int:
        """Of the features that the head reads."""
        return self.backbone.pooled_width if self.pools else self.backbone.width

    def pooled(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N P"]:
        """What is kept of the features that forward gives: they without their places in the image."""
        return features if self.pools else self.backbone.pooled(features)

    def first(self, batches: Iterator[tuple[Float[Tensor, "N ..."], Int[Tensor, " N"]]]) -> None:
        """Before the first step: the training images as they are, batch by batch, for what is begun from them."""

    def costs(self) -> tuple[float, float, float]:
        """What learning by an image takes, before and after `begins`, and making all that is made in between, in the
        time of an image before it."""
        return 1.0, 1.0, 0.0

    def done(self) -> float:
        """The share that is made of the images that it makes up before the first epoch after `begins`; 1 is all."""
        return 1.0

    def make(self, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> None:
        """Make some more of them, from these training images. What is made is in buffers, so that it is saved."""
        raise NotImplementedError

    def doubts(self) -> Iterator[Sentence]:
        """What somebody should know of what was made."""
        yield from ()

    def shown(self) -> dict[str, Tensor]:
        """What was made, for people to look at: made [M, C, H, W] from images of the classes begun [M]; and of P images
        of these classes [P] the way [S, P, C, H, W] at these steps [S], with the shares of the K + 1 classes before
        the last stage [S, P, K + 1]. Images are normalised. Empty where nothing is."""
        return {}

    def add_sides(self, left_out: list[tuple[int, int]]) -> None:
        """Further heads on the same features, each without the images of a fold and those of a class; -1 is none.

        One that leaves out a fold is the network for the images of that fold, as if it had never seen them; one that
        leaves out a class tells what a network makes of a class that it does not know. They move nothing below them.
        """
        self.left_out = left_out
        for name, some in (
            ("folds", [s for s in left_out if s[1] < 0]),
            ("classes", [s for s in left_out if s[1] >= 0]),
        ):
            if some:
                head = nn.Linear(self.classify.in_features, len(some) * self._width(name))
                nn.init.normal_(head.weight, std=0.01)
                nn.init.zeros_(head.bias)
                self.sides[name] = head
                self.register_buffer(f"without_{name}", torch.tensor(some), persistent=False)

    def _width(self, name: str) -> int:
        return self.classify.out_features - (name == "classes")

    def side(self, number: int, features: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """The logits of the side head that is this one of left_out."""
        name, rows = self._rows(number)
        return nn.functional.linear(features, self.sides[name].weight[rows], self.sides[name].bias[rows])

    def _rows(self, number: int) -> tuple[str, slice]:
        """Where a side head stands: among which of the sides, and in which rows."""
        name = "classes" if self.left_out[number][1] >= 0 else "folds"
        place = [s for s in self.left_out if (s[1] >= 0) == (name == "classes")].index(self.left_out[number])
        return name, slice(place * self._width(name), (place + 1) * self._width(name))

    def seen(self, x: Float[Tensor, "N ..."], how: Callable[[Tensor], Tensor] | None = None) -> Float[Tensor, "N D"]:
        """The features of images; how: by another way through the backbone than the whole of it."""
        with torch.autocast(x.device.type, self.half, enabled=self.half is not None):
            features = (how or self.backbone)(x)
        return self.backbone.pooled(features.float()) if self.pools else features.float()

    def forward(self, x: Float[Tensor, "N ..."]) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N D"]]:
        features = self.seen(x)
        return self.classify(features), features

    def losses(
        self, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"] | Int[Tensor, "N 2"]
    ) -> Iterator[tuple[str, Terms]]:
        """y: the labels, and where there are side heads the folds beside them."""
        y, fold = y.unbind(1) if y.ndim == 2 else (y, None)
        logits, features = self(x)
        yield "net", self.terms(logits, y)
        if fold is not None and (of_sides := list(self._of_sides(features.detach(), y, fold))):
            yield SIDES, {"total": torch.stack(of_sides).sum()}

    def _of_sides(
        self, features: Float[Tensor, "N D"], y: Int[Tensor, " N"], fold: Int[Tensor, " N"]
    ) -> Iterator[Float[Tensor, ""]]:
        for name, head in self.sides.items():
            folds, classes = getattr(self, f"without_{name}").unbind(1)
            mine = ((fold[:, None] != folds) | (folds < 0)) & (y[:, None] != classes)  # of each image, by heads
            if mine.any():
                labels = y[:, None] - ((y[:, None] > classes) & (classes >= 0)).long()
                logits = head(features).unflatten(1, (len(folds), -1))
                # the mean over all, as often as there are heads, is for each the mean over its own images
                yield self.terms(logits[mine], labels[mine])["total"] * len(folds)

    def dummies(self) -> Float[Tensor, "M D+1"] | None:
        """Weights and biases of linear heads on the features that stand for no class, None without any."""
        return None

    def head(self) -> np.ndarray | None:
        """Weights and, last, biases [C, D + 1] of the linear head that makes the logits, None without one."""
        return _of_linear(self.classify.weight, self.classify.bias) if hasattr(self, "classify") else None

    def side_head(self, number: int) -> np.ndarray:
        """The same of the side head that is this one of left_out."""
        name, rows = self._rows(number)
        return _of_linear(self.sides[name].weight[rows], self.sides[name].bias[rows])

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of each part, each with an optimizer of its own."""
        sides = list(self.sides.parameters())
        beside = {id(p) for p in sides}
        net = [p for p in self.parameters() if p.requires_grad and id(p) not in beside]
        return {"net": net} | ({SIDES: sides} if sides else {})

    def bare(self) -> list[nn.Parameter]:
        """Of layers on the backbone's maps that no batch norm follows, see Backbone.bare_rate."""
        return []

    def optimizer(self, part: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer | None:
        """Of a part that has one of its own kind and rate; None is the recipe's."""
        return None

    def terms(self, logits: Float[Tensor, "N C"], y: Int[Tensor, " N"]) -> Terms:
        """Also of fewer classes than the network's, by a head that leaves one out."""
        raise NotImplementedError

    def beside(self, logits: Float[Tensor, "N C"], y: Int[Tensor, " N"]) -> dict[str, float]:
        """What an epoch tells of the validation images besides losses: numbers by name."""
        return {}

    def affinity(self, logits: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """What the classes are compared by: the largest is the predicted one."""
        return logits


def _of_linear(weight: Tensor, bias: Tensor) -> np.ndarray:
    return torch.cat([weight, bias[:, None]], 1).detach().float().cpu().numpy()
