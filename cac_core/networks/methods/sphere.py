"""Losses on the sphere: SupCon and CIDER. No anchors and no logits of a linear head: what is learnt are directions.

N images, V views of each in a batch of M = V N, D features, H numbers in a projection, C known classes. A projection
head stands on the pooled features while training goes on; its outputs, at unit length, are z.

Why CIDER's loss is a classifier: say the z of class c are drawn from a von Mises-Fisher distribution with mean mu_c and
one concentration k for all, density proportional to exp(k mu_c . z). The posterior of class c is then the softmax of
mu_c . z / temperature with temperature 1 / k, and its cross-entropy is the loss that pulls z to its prototype.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cac_core.networks import losses
from cac_core.networks.backbones import Backbone
from cac_core.networks.methods import Method
from cac_core.recipe import checked


class _Sphere(Method):
    """Two views of each image, pooled features, a projection head, and a direction for each class, `prototypes`.

    The logits are cosines to the prototypes over the temperature, so that the nearest class has the largest.
    """

    views, pools, alone = 2, True, True
    criterion = "prototype"

    def __init__(self, backbone: Backbone, classes: int, temperature: float, projection: int, ema: float, of_z: bool):
        super().__init__(backbone, classes, linear=False)
        self.temperature, self.ema = checked("temperature", temperature), checked("ema", ema)
        sizes = self.width, checked("projection", projection)
        self.project = nn.Sequential(nn.Linear(sizes[0], sizes[0]), nn.ReLU(), nn.Linear(*sizes))
        self.register_buffer("prototypes", F.normalize(torch.randn(classes, sizes[of_z])))
        self.of_z = of_z

    def z(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N H"]:
        return F.normalize(self.project(features))

    def direction(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N K"]:
        """What is compared with the prototypes."""
        return self.z(features) if self.of_z else F.normalize(features)

    def forward(self, x):
        features = self.seen(x)
        return self.direction(features) @ self.prototypes.T / self.temperature, features

    @torch.no_grad()
    def first(self, batches):
        """Prototypes begin at the class means of the training images."""
        total = torch.zeros_like(self.prototypes)
        for x, y in batches:
            total.index_add_(0, y, self.direction(self.seen(x)))
        self.prototypes.copy_(F.normalize(total))

    def terms(self, logits, y):
        """Of validation images: the cross-entropy of the cosines to the prototypes."""
        loss = F.cross_entropy(logits, y)
        return {"total": loss, "prototype": loss}

    @torch.no_grad()
    def beside(self, logits, y):
        """Mean cosines: of validation images to their own prototype, between prototypes, and of the closest two."""
        count = len(self.prototypes)
        apart = (self.prototypes @ self.prototypes.T)[~torch.eye(count, dtype=torch.bool, device=y.device)]
        own = logits.gather(1, y[:, None]).mean() * self.temperature
        return {"own": float(own), "between": float(apart.mean()), "closest": float(apart.max())}


class SupCon(_Sphere):
    """Supervised contrastive learning. Khosla et al., NeurIPS 2020.

    Prototypes are the moving average of the directions of features, which the loss does not know: they give the label
    while training goes on, and the loss is on the projections z. Rejected by knn on the features (Sun et al., ICML
    2022), whose direction is what the loss has shaped.
    """

    def __init__(self, backbone, classes, *, temperature: float = 0.1, projection: int = 128, ema: float = 0.99):
        super().__init__(backbone, classes, temperature, projection, ema, of_z=False)

    def losses(self, x, y):
        features = self.seen(x)
        contrast = losses.sup_con(self.z(features), y, temperature=self.temperature)
        with torch.no_grad():
            self.prototypes.copy_(losses.moved_prototypes(self.prototypes, F.normalize(features), y, ema=self.ema))
        yield "net", {"total": contrast, "contrast": contrast}


class CIDER(_Sphere):
    """Compactness and dispersion. Ming, Sun, Dia and Li, ICLR 2023.

    total = dispersion + lam compactness, both by the prototypes after the batch: the compactness takes them as given,
    and is times temperature / 0.07 as in their code, which the paper does not have.
    """

    def __init__(
        self, backbone, classes, *, lam: float = 2.0, temperature: float = 0.1, projection: int = 128, ema: float = 0.95
    ):
        super().__init__(backbone, classes, temperature, projection, ema, of_z=True)
        self.lam = checked("lam", lam)

    def losses(self, x, y):
        z = self.z(self.seen(x))
        moved = losses.moved_prototypes(self.prototypes, z, y, ema=self.ema)
        self.prototypes.copy_(moved.detach())
        apart = losses.dispersion(moved, temperature=self.temperature)
        near = F.cross_entropy(z @ moved.detach().T / self.temperature, y) * (self.temperature / losses.BASE)
        yield "net", {"total": apart + self.lam * near, "compactness": near, "dispersion": apart}
