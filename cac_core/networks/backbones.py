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

from cac_core.networks.inputs import Stats
from cac_core.recipe import checked, known_name
from cac_core.sentences import say


class Backbone(nn.Module):
    """The contract. width is the number of features; a subclass sets it.

    A backbone whose first part is fixed, with weights that come from elsewhere, says so: fixed_by is the digest of
    these weights, maps gives what that part makes of images, of_maps the features from there, and where given_maps is
    set forward takes maps in the place of images. scale is the mean and standard deviation of each channel that they
    were trained with; where there is none, the training images' own are taken. map_widths is the number of channels of
    an image and of the map after each stage; empty where a backbone is not cut into stages. bare_rate is the share of
    the learning rate that a method's layers on these maps take where no batch norm follows them: they may not bear it
    all.
    """

    width: int
    takes: tuple[int, int]  # channels and side of the images that it was built for; evaluate.build says it
    map_widths: tuple[int, ...] = ()
    scale: Stats | None = None
    fixed_by: str = ""
    given_maps: bool = False
    bare_rate: float = 1.0

    @property
    def pooled_width(self) -> int:
        """The number of pooled features."""
        return self.width

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        raise NotImplementedError

    def early(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N ..."]:
        """The maps before the last stage, from which `late` goes on; not of every backbone."""
        raise NotImplementedError

    def late(self, maps: Float[Tensor, "N ..."]) -> Float[Tensor, "N D"]:
        """The features from the maps that `early` gives."""
        raise NotImplementedError

    def stages(self, x: Float[Tensor, "N C H W"]) -> list[Tensor]:
        """The maps after each stage, of which the last is what `ended` makes the features of."""
        raise NotImplementedError

    def ended(self, last: Float[Tensor, "N W h w"]) -> Float[Tensor, "N D"]:
        raise NotImplementedError

    def prepare(self, x: Float[Tensor, "N C H W"]) -> None:
        """Before the first step of a training: some of its images, normalised, for weights that are made by them."""

    def pooled(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N P"]:
        """The features without their places in the image, where they have any; otherwise the same."""
        return features


class ConvNet(Backbone):
    """3 x 3 convolutions without bias, each with batch norm and LeakyReLU(0.2); Dropout2d after every third of them.

    layers: (channels out, stride) of each convolution. The features are the last map, flattened.
    """

    def __init__(self, channels: int, size: int, layers: list[tuple[int, int]], dropout: float, drop_after: set[int]):
        super().__init__()
        checked("dropout", dropout)
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
        self.ends = sorted(drop_after)  # a stage ends with a dropout
        self.cut = self.ends[-2] + 1
        self.map_widths = (channels, *(layers[end - 1][0] for end in self.ends))

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        return self.late(self.early(x))

    def early(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N ..."]:
        return self._layers(x, 1, self.cut)

    def late(self, maps: Float[Tensor, "N ..."]) -> Float[Tensor, "N D"]:
        return self.ended(self._layers(maps, self.cut, self.depth + 1))

    def stages(self, x: Float[Tensor, "N C H W"]) -> list[Tensor]:
        maps = []
        for first, end in zip([0, *self.ends], self.ends, strict=False):
            x = self._layers(x, first + 1, end + 1)
            maps.append(x)
        return maps

    def ended(self, last: Float[Tensor, "N W h w"]) -> Float[Tensor, "N D"]:
        return last.flatten(1)

    def _layers(self, x: Tensor, first: int, stop: int) -> Tensor:
        for i in range(first, stop):
            x = F.leaky_relu_(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)), 0.2)
            if i in self.drop_after:
                x = self.drop(x)
        return x

    @property
    def pooled_width(self) -> int:
        return self.width // self.places

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

        weights = downloaded(url_map[name], say("the ImageNet weights of {name}", name=name))
        weights = {key: value for key, value in weights.items() if not key.startswith("_fc.")}
        self.trunk.load_state_dict(for_channels(weights, "_conv_stem.weight", channels))

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        if x.shape[-1] != self.input_size:
            x = F.interpolate(x, size=(self.input_size, self.input_size), mode="bilinear", align_corners=False)
        return self.drop(self.trunk(x).flatten(1))


def efficientnet(name: str, channels: int, size: int, *, input_size: int = 64, pretrained: bool = False) -> Backbone:
    """efficientnet-b0 to b7. Its stride is 32, so 32 pixels would become one: input_size enlarges them first."""
    return EfficientNet(name, channels, checked("input_size", input_size), pretrained)


class WideResNet(Backbone):
    """Zagoruyko and Komodakis, BMVC 2016, pre-activated, without its classifier."""

    def __init__(self, channels: int, depth: int, widen: int, dropout: float):
        super().__init__()
        widths = [16, 16 * widen, 32 * widen, 64 * widen]
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        for n in range(3):
            blocks = [
                _WideBlock(widths[n] if i == 0 else widths[n + 1], widths[n + 1], 2 if n and i == 0 else 1, dropout)
                for i in range((depth - 4) // 6)
            ]
            self.add_module(f"block{n + 1}", nn.Sequential(*blocks))
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.width, self.map_widths = widths[3], (channels, *widths[1:])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        return self.late(self.early(x))

    def early(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N ..."]:
        return self.block2(self.block1(self.conv1(x)))

    def late(self, maps: Float[Tensor, "N ..."]) -> Float[Tensor, "N D"]:
        return self.ended(self.block3(maps))

    def stages(self, x: Float[Tensor, "N C H W"]) -> list[Tensor]:
        first = self.block1(self.conv1(x))
        second = self.block2(first)
        return [first, second, self.block3(second)]

    def ended(self, last: Float[Tensor, "N W h w"]) -> Float[Tensor, "N D"]:
        return F.relu(self.bn1(last)).mean((2, 3))


class _WideBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int, dropout: float):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.drop = nn.Dropout(dropout)
        self.convShortcut = None if before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        seen = F.relu(self.bn1(x))
        out = self.conv2(self.drop(F.relu(self.bn2(self.conv1(seen)))))
        return out + (x if self.convShortcut is None else self.convShortcut(seen))


# trained on ImageNet at 32 pixels without the classes of CIFAR-10. Hendrycks et al., ICML 2019
WIDE_RESNET_WEIGHTS = (
    "https://github.com/hendrycks/pre-training/raw/master/uncertainty/CIFAR/snapshots/imagenet/cifar10_excluded/"
    "imagenet_wrn_baseline_epoch_99.pt"
)


def wide_resnet(name: str, channels: int, size: int, *, dropout: float = 0.3, pretrained: bool = False) -> Backbone:
    """wide_resnet-40-2: 40 layers, twice as wide, 2.2 M parameters. Pretrained: imagenet32-nocifar of pytorch-ood."""
    checked("dropout", dropout)
    network = WideResNet(channels, 40, 2, dropout)
    if pretrained:
        stored = downloaded(WIDE_RESNET_WEIGHTS, say("the ImageNet weights of {name}", name=name))
        weights = {key.removeprefix("module.").replace(".layer.", "."): value for key, value in stored.items()}
        weights = {key: value for key, value in weights.items() if not key.startswith("fc.")}
        network.load_state_dict(for_channels(weights, "conv1.weight", channels))
    return network


class Torchvision(Backbone):
    """A network of torchvision without its classifier."""

    def __init__(self, network: nn.Module, width: int):
        super().__init__()
        self.network, self.width = network, width

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        return self.network(x).flatten(1)


# the first convolution, the last linear layer, and a stem that keeps small images large: (kernel, stride) of the first
# convolution, and a pooling behind it that falls away
STEMS = {
    "resnet18": ("conv1", "fc", 3, "maxpool"),
    "resnet50": ("conv1", "fc", 3, "maxpool"),
    "convnext_tiny": ("features.0.0", "classifier.2", 3, None),
    "efficientnet_v2_s": ("features.0.0", "classifier.1", 3, None),
}


def torchvision_network(
    name: str, channels: int, size: int, *, stem: str = "auto", pretrained: bool = False
) -> Backbone:
    """resnet18, resnet50, convnext_tiny or efficientnet_v2_s of torchvision.

    stem="small" looks at every pixel (3 x 3, stride 1, no pooling), so that 32 pixels are not shrunk to one; "original"
    is the published one; "auto" takes small below 96 pixels. Pretrained weights leave a small stem untrained where its
    shape is another.
    """
    from torchvision import models

    known_name(stem, ("auto", "small", "original"), "stem")
    network = models.get_model(name, weights=None)
    first, last, kernel, pool = STEMS[name]
    old = network.get_submodule(first)
    small = stem == "small" or (stem == "auto" and size < 96)
    how = (kernel, 1, kernel // 2) if small else (old.kernel_size, old.stride, old.padding)
    new = nn.Conv2d(channels, old.out_channels, *how, bias=old.bias is not None)
    width = network.get_submodule(last).in_features
    _replace(network, first, new)
    _replace(network, last, nn.Identity())
    if small and pool:
        _replace(network, pool, nn.Identity())
    if pretrained:
        weights = downloaded(
            models.get_model_weights(name).DEFAULT.url, say("the ImageNet weights of {name}", name=name)
        )
        weights = for_channels(weights, f"{first}.weight", channels)
        if weights[f"{first}.weight"].shape != new.weight.shape:
            weights |= {f"{first}.{part}": value for part, value in new.state_dict().items()}
        network.load_state_dict({k: v for k, v in weights.items() if not k.startswith(f"{last}.")})
    return Torchvision(network, width)


def _replace(network: nn.Module, path: str, new: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, new)


def for_channels(weights: dict[str, Tensor], first: str, channels: int) -> dict[str, Tensor]:
    """Weights made for colour, for images of so many channels: a grey image is three equal ones."""
    return weights if channels == 3 else weights | {first: weights[first].sum(1, keepdim=True)}


def downloaded(url: str, what: str) -> dict[str, Tensor]:
    """A published weight file, downloaded once and read without unpickling; the error says where to put it by hand."""
    file = f"{torch.hub.get_dir()}/checkpoints/{url.rsplit('/', 1)[-1]}"
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True)
    except OSError as error:  # URLError is one
        raise FileNotFoundError(say(
            "{what} could not be downloaded ({error}). Without internet, put the file {url} at {file}, or leave "
            "pretrained off.",
            what=what, error=error, url=url, file=file,
        )) from error  # fmt: skip
