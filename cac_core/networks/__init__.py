"""Networks: backbones, the losses that train them, the methods that put both together, and how pixels get in."""
