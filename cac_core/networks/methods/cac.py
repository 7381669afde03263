"""Class Anchor Clustering. Miller, Suenderhauf, Milford, Dayoub, WACV 2021."""

from cac_core.networks import losses
from cac_core.networks.backbones import Backbone
from cac_core.networks.methods import Method
from cac_core.recipe import checked


class CAC(Method):
    """Logits gather around alpha times the unit vectors. lam weighs the pull to the own anchor (the paper's lambda).

    The best epoch is the one of the smallest anchor loss on validation images, as the paper's.
    """

    criterion = "anchor"

    def __init__(self, backbone: Backbone, classes: int, *, alpha: float = 10.0, lam: float = 0.1):
        super().__init__(backbone, classes)
        self.lam = checked("lam", lam)
        self.register_buffer("anchors", losses.anchors(classes, checked("alpha", alpha)))

    def terms(self, logits, y):
        return losses.cac(logits, y, self.anchors[: logits.shape[1], : logits.shape[1]], lam=self.lam)

    def affinity(self, logits):
        return -losses.distances(logits, self.anchors)
