"""Backbones: images in, features out. One contract for all of them.

build(name, channels, size, **options) gives a Backbone: forward takes normalised images [N, channels, size, size] and
returns features [N, width], which the method's linear head reads; pooled makes of them what is kept for scorers that
work on features. To add one: a function here and a row in recipe.BACKBONES.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Backbone(nn.Module):
    """The contract. width is the number of features; a subclass sets it."""

    width: int

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        raise NotImplementedError

    def pooled(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N P"]:
        """The features without their places in the image, where they have any; otherwise the same."""
        return features


class ConvNet(Backbone):
    """3 x 3 convolutions without bias, each with batch norm and LeakyReLU(0.2); Dropout2d after every third of them.

    layers: (channels out, stride) of each convolution. The features are the last map, flattened.
    """

    def __init__(self, channels: int, size: int, layers: list[tuple[int, int]], dropout: float, drop_after: set[int]):
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, not {dropout}.")
        self.drop_after = drop_after
        self.drop = nn.Dropout2d(dropout)
        before, side = channels, size
        for i, (after, stride) in enumerate(layers, 1):
            conv = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(after))
            before, side = after, math.ceil(side / stride)
        self.depth, self.places, self.width = len(layers), side * side, before * side * side

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        for i in range(1, self.depth + 1):
            x = F.leaky_relu_(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)), 0.2)
            if i in self.drop_after:
                x = self.drop(x)
        return x.flatten(1)

    def pooled(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N P"]:
        return features.unflatten(1, (-1, self.places)).mean(2)


def plain(name: str, channels: int, size: int, *, dropout: float = 0.2) -> Backbone:
    """The nine-convolution network of Neal et al., ECCV 2018, as Miller et al., WACV 2021 use it: 1.0 M parameters."""
    layers = [(64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (128, 2), (128, 1), (128, 1), (128, 2)]
    return ConvNet(channels, size, layers, dropout, {3, 6, 9})


def small(name: str, channels: int, size: int, *, dropout: float = 0.1) -> Backbone:
    """Four convolutions, about 100 000 parameters: for teaching on a processor."""
    return ConvNet(channels, size, [(32, 1), (48, 2), (64, 1), (96, 2)], dropout, {2, 4})


class EfficientNet(Backbone):
    """Tan and Le, ICML 2019, through efficientnet-pytorch, without its classifier; images are enlarged to its input."""

    def __init__(self, name: str, channels: int, input_size: int, pretrained: bool):
        from efficientnet_pytorch import EfficientNet as Trunk

        super().__init__()
        self.input_size = input_size
        self.trunk = Trunk.from_name(name, in_channels=channels, image_size=input_size, include_top=False)
        self.width = self.trunk._bn1.num_features
        self.drop = nn.Dropout(self.trunk._global_params.dropout_rate)
        if pretrained:
            self._load_pretrained(name, channels)

    def _load_pretrained(self, name: str, channels: int) -> None:
        from efficientnet_pytorch.utils import url_map

        weights = downloaded(url_map[name], f"the ImageNet weights of {name}")
        weights = {key: value for key, value in weights.items() if not key.startswith("_fc.")}
        if channels == 1:  # a grey image is three equal channels
            weights["_conv_stem.weight"] = weights["_conv_stem.weight"].sum(1, keepdim=True)
        self.trunk.load_state_dict(weights)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        if x.shape[-1] != self.input_size:
            x = F.interpolate(x, size=(self.input_size, self.input_size), mode="bilinear", align_corners=False)
        return self.drop(self.trunk(x).flatten(1))


def efficientnet(name: str, channels: int, size: int, *, input_size: int = 64, pretrained: bool = False) -> Backbone:
    """efficientnet-b0 to b7. Its stride is 32, so 32 pixels would become one: input_size enlarges them first."""
    if not 32 <= input_size <= 1024:
        raise ValueError(f"input_size lies between 32 and 1024 pixels, not {input_size}.")
    return EfficientNet(name, channels, input_size, pretrained)


def downloaded(url: str, what: str) -> dict[str, Tensor]:
    """A published weight file, downloaded once and read without unpickling; the error says where to put it by hand."""
    file = f"{torch.hub.get_dir()}/checkpoints/{url.rsplit('/', 1)[-1]}"
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True)
    except OSError as error:  # URLError is one
        raise FileNotFoundError(
            f"{what} could not be downloaded ({error}). Without internet, put the file {url} at {file}, "
            "or leave pretrained off."
        ) from error
