"""PROSER, learning placeholders. Zhou, Ye and Zhan, CVPR 2021."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cac_core.networks.backbones import Backbone
from cac_core.networks.methods import Method
from cac_core.recipe import checked, known_name
from cac_core.sentences import say


class PROSER(Method):
    """Cross-entropy, then a dummy class beside the known ones, for what lies between them.

    z are the known logits, d the largest of `dummies` dummy logits, and [z, d] the logits of K + 1 classes. From the
    share `start` of the training on, half of a batch is mixed and the rest clean: total = known + placeholder x its
    term + mixed x its term. known is the cross-entropy of [z, d]; the placeholder's is that of [z without the true
    class, d] with the dummy as the target, so that the dummy comes second; the mixed half's target is the dummy, and a
    mixed image is the maps before the last stage of two images, lam to 1 - lam, lam ~ Beta(mixup, mixup), one a batch.

    mixing "apart" leaves out pairs of one class, as the paper has it, "all" takes them, as the released code does.
    Deviates from that code: one pass with both heads, and the paper's form of one further class, where the code draws
    all dummies into the known term and pulls mixed images to the first one alone; no second run at a low rate, but the
    last part of one. Rejected by `placeholder`.
    """

    pools, alone = True, True
    criterion = "softmax"

    def __init__(
        self, backbone, classes, *, dummies: int = 1, placeholder: float = 1.0, mixed: float = 0.1, mixup: float = 1.0,
        mixing: str = "apart", start: float = 0.67,
    ):  # fmt: skip
        super().__init__(backbone, classes)
        if type(backbone).early is Backbone.early:
            raise ValueError(say(
                "proser mixes images before the last stage, and this backbone is not cut there. Take small, plain, "
                "fast or wide_resnet-40-2."
            ))  # fmt: skip
        self.dummy = nn.Linear(self.width, checked("dummies", dummies))
        self.weights = checked("placeholder", placeholder), checked("mixed", mixed)
        self.mixup, self.apart = checked("mixup", mixup), known_name(mixing, ("apart", "all"), "mixing") == "apart"
        self.begins = checked("start", start)

    def dummies(self):
        return torch.cat([self.dummy.weight, self.dummy.bias[:, None]], 1)

    def terms(self, logits, y):
        loss = F.cross_entropy(logits, y)
        return {"total": loss, "softmax": loss}

    def losses(self, x, y):
        if self.way < self.begins:
            yield "net", self.terms(self(x)[0], y)
            return
        half = len(x) // 2
        order = torch.randperm(half, device=x.device)
        share = torch.distributions.Beta(*torch.tensor([self.mixup, self.mixup])).sample().to(x.device)

        def through(x: Tensor) -> Tensor:
            maps = self.backbone.early(x)
            mixed = share * maps[:half] + (1 - share) * maps[:half][order]
            return self.backbone.late(torch.cat([mixed.to(maps.dtype), maps[half:]]))

        features = self.seen(x, through)
        logits, dummy = self.classify(features), self.dummy(features)
        use = y[:half] != y[:half][order] if self.apart else torch.ones_like(order, dtype=torch.bool)
        yield "net", self.placed(logits[half:], dummy[half:], y[half:], logits[:half][use], dummy[:half][use])

    def placed(
        self,
        known: Float[Tensor, "N K"],
        dummy: Float[Tensor, "N M"],
        y: Int[Tensor, " N"],
        mixed_known: Float[Tensor, "P K"],
        mixed_dummy: Float[Tensor, "P M"],
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms, from the logits of clean and of mixed images."""
        classes = known.shape[1]
        both = torch.cat([known, dummy.amax(1, keepdim=True)], 1)
        without = both.scatter(1, y[:, None], -torch.inf)
        terms = {
            "known": F.cross_entropy(both, y),
            "placeholder": F.cross_entropy(without, torch.full_like(y, classes)),
            "mixed": known.sum() * 0,
        }
        if len(mixed_known):
            blend = torch.cat([mixed_known, mixed_dummy.amax(1, keepdim=True)], 1)
            target = torch.full((len(blend),), classes, device=blend.device)
            terms["mixed"] = F.cross_entropy(blend, target)
        near, far = self.weights
        return {"total": terms["known"] + near * terms["placeholder"] + far * terms["mixed"], **terms}
