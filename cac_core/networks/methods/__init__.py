"""Methods: a network and the losses that it is trained by. Importing this module costs torch.

To add one: a class in a file of its own, and a row in recipe.METHODS. Its options are the keyword-only arguments of
its __init__, with defaults.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cac_core.networks.backbones import Backbone

Terms = dict[str, Float[Tensor, ""]]


class Method(nn.Module):
    """The contract: forward gives logits and features; losses yields its parts' loss terms, one after the other.

    For each part yielded, the loop zeroes its gradients, goes backward from terms["total"] and steps its optimizer.
    criterion names the term that, on the validation images, tells the best epoch (lower is better).
    """

    criterion = "total"
    half: torch.dtype | None = None  # the backbone's type under autocast; None is float32

    def __init__(self, backbone: Backbone, classes: int):
        super().__init__()
        self.backbone = backbone
        self.classify = nn.Linear(backbone.width, classes)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)

    def forward(self, x: Float[Tensor, "N ..."]) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N D"]]:
        with torch.autocast(x.device.type, self.half, enabled=self.half is not None):
            features = self.backbone(x)
        features = features.float()
        return self.classify(features), features

    def losses(self, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"]) -> Iterator[tuple[str, Terms]]:
        yield "net", self.terms(self(x)[0], y)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of each part, each with an optimizer of its own."""
        return {"net": [p for p in self.parameters() if p.requires_grad]}

    def terms(self, logits: Float[Tensor, "N C"], y: Int[Tensor, " N"]) -> Terms:
        raise NotImplementedError

    def affinity(self, logits: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """What the classes are compared by: the largest is the predicted one."""
        return logits
