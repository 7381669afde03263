"""The closed-set baseline: the same network trained by softmax cross-entropy."""

from cac_core.networks import losses
from cac_core.networks.methods import Method
from cac_core.recipe import checked


class CrossEntropy(Method):
    """Softmax cross-entropy; rejected by a score of its logits. smoothing: of the labels, see losses.cross_entropy."""

    def __init__(self, backbone, classes, *, smoothing: float = 0.0):
        super().__init__(backbone, classes)
        self.smoothing = checked("smoothing", smoothing)

    def terms(self, logits, y):
        return losses.cross_entropy(logits, y, smoothing=self.smoothing)
