"""From what a network put out to how unknown each image looks, and what that is worth. Numpy, pure."""
