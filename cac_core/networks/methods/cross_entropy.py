"""The closed-set baseline: the same network trained by softmax cross-entropy."""

from cac_core.networks import losses
from cac_core.networks.methods import Method


class CrossEntropy(Method):
    """Softmax cross-entropy; rejected by a score of its logits."""

    def __init__(self, backbone, classes):
        super().__init__(backbone, classes)

    def terms(self, logits, y):
        return losses.cross_entropy(logits, y)
