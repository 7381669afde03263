"""Virtual Outlier Synthesis. Du, Wang, Cai and Li, ICLR 2022."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.special import gammainccinv
from torch import Tensor, nn

from cac_core.networks import losses
from cac_core.networks.methods import Method
from cac_core.recipe import checked


class VOS(Method):
    """Cross-entropy, and an uncertainty loss that tells the energies of images from those of virtual outliers.

    Features are drawn from one Gaussian a class, with means over queues of the last `queue` features of each class and
    a covariance that all share; of `draws` a class the least likely is an outlier. total = softmax + weight outlier.
    Until the share `start` of the training it is cross-entropy. The outliers carry no gradient: they train the heads
    alone, the images train all. Rejected by the plain energy of the logits, without the weights that training learns.

    The queue is no longer than the smallest class. Deviates: pooled features, whose covariance so few images give.
    """

    pools, alone = True, True
    criterion = "softmax"

    def __init__(
        self, backbone, classes, *, weight: float = 0.1, queue: int = 1000, draws: int = 10000, start: float = 0.4
    ):
        super().__init__(backbone, classes)
        self.weight, start = checked("weight", weight), checked("start", start)
        self.begins = start if weight else 0.0
        self.draws = checked("draws", draws)
        self.energies = nn.Parameter(torch.rand(classes))  # the weights w of the energy
        self.tell = nn.Linear(1, 2)
        self.register_buffer("queues", torch.zeros(classes, checked("queue", queue), self.width))
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.long))
        self.register_buffer("length", torch.tensor(queue))

    def first(self, batches):
        """The queues are no longer than the smallest class has images."""
        counts = torch.zeros_like(self.filled)
        for _, y in batches:
            counts += torch.bincount(y, minlength=len(counts))
        self.length.fill_(max(2, min(self.queues.shape[1], int(counts.min()))))

    def terms(self, logits, y):
        loss = F.cross_entropy(logits, y)
        return {"total": loss, "softmax": loss}

    def losses(self, x, y):
        logits, features = self(x)
        terms = self.terms(logits, y)
        self.remember(features.detach(), y)
        outlier = logits.sum() * 0
        if self.weight and self.way >= self.begins and (self.filled >= self.length).all():
            outlier = self.uncertainty(logits, self.classify(self.outliers()))
        yield "net", terms | {"total": terms["softmax"] + self.weight * outlier, "outlier": outlier}

    @torch.no_grad()
    def remember(self, features: Float[Tensor, "N D"], y: Int[Tensor, " N"]) -> None:
        """The features enter the queues of their classes; while one is short, those that are full wait."""
        length, short = int(self.length), bool((self.filled < self.length).any())
        for c in range(len(self.queues)):
            new = features[y == c][-length:]
            if not len(new) or (short and self.filled[c] >= length):
                continue
            kept = min(int(self.filled[c]), length - len(new))
            have = self.queues[c, : int(self.filled[c])]
            joined = torch.cat([have[len(have) - kept :], new])
            self.queues[c, : len(joined)] = joined
            self.filled[c] = len(joined)

    def gaussian(self) -> tuple[Float[Tensor, "C D"], Float[Tensor, "D D"]]:
        """The class means over the queues, and the covariance about them, over all classes, plus 1e-4 I."""
        rows = self.queues[:, : int(self.length)]
        means = rows.mean(1)
        centred = (rows - means[:, None]).flatten(0, 1)
        ridge = 1e-4 * torch.eye(rows.shape[2], dtype=rows.dtype, device=rows.device)
        return means, centred.T @ centred / len(centred) + ridge

    @torch.no_grad()
    def outliers(self) -> Float[Tensor, "C D"]:
        """Of so many draws of each class the least likely, without the others.

        The density falls with the length of the standard normal vector that a draw is made of. The direction of the
        longest one is any; that none of n is longer has the probability u = F(length²)^n, F of chi² with D degrees, and
        of this u is uniform: -log u has the exponential distribution.
        """
        means, covariance = self.gaussian()
        beyond = -torch.expm1(-torch.empty(len(means), device=means.device).exponential_().double().cpu() / self.draws)
        length = torch.from_numpy(2 * gammainccinv(means.shape[1] / 2, beyond.numpy())).sqrt().to(means)
        noise = F.normalize(torch.randn_like(means)) * length[:, None]
        return means + noise @ torch.linalg.cholesky(covariance).T

    def energy(self, logits: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
        """log sum over k of relu(w_k) exp(logits_k)."""
        return (logits + self.energies.relu().clamp_min(1e-12).log()).logsumexp(1)

    def uncertainty(self, known: Float[Tensor, "N C"], virtual: Float[Tensor, "M C"]) -> Float[Tensor, ""]:
        """Cross-entropy of telling images, 1, from outliers, 0, by a logistic regression on the energy."""
        e = torch.cat([self.energy(known), self.energy(virtual)])
        target = (torch.arange(len(e), device=e.device) < len(known)).long()
        return losses.cross_entropy(self.tell(e[:, None]), target)["total"]
