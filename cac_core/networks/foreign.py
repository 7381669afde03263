"""A classifier that somebody else trained, as a network: it judges images, and learns nothing here.

It comes as an ONNX file, or as the weights of a network of torchvision's or timm's. The file is data: it is read
without unpickling, within a bound, and only operators of ONNX itself are run. The network takes images [N, C, H, W]
float, normalised, and gives logits [N, K]. Features are what its last linear layer reads, or a value of the graph by
name.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cac_core.networks.backbones import Backbone
from cac_core.networks.methods import Method
from cac_core.sentences import say

MOST = 512 << 20  # bytes of a file
OPERATORS = ("", "ai.onnx", "ai.onnx.ml")  # whose domains are ONNX's own
GRAPH = "graph"  # of the weights that a run keeps: an ONNX file, byte by byte
MISSING = "Networks from ONNX files need the packages onnx and onnxruntime. Install them with:\n    pip install {names}"


@dataclass(frozen=True)
class Graph:
    """What is known of a graph before it runs: how many images it takes at a time (0: any number), channels and side of
    an image (0: any), the name of the value that is taken for features, empty for none, and the head that makes logits
    of them, weights and biases [K, D + 1], None where no linear layer does."""

    content: bytes
    batch: int
    channels: int
    side: int
    features: str
    head: np.ndarray | None


def read(content: bytes, features: str = "") -> Graph:
    """The graph of an ONNX file, with one more output, its features, and without a softmax at its end, whose shares are
    no logits. Raises ValueError for what cannot be run here."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ValueError(say(MISSING, names="onnx onnxruntime")) from error
    if len(content) > MOST:
        raise ValueError(say("The network is larger than {most} MB.", most=MOST >> 20))
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # whatever a file that is no network makes protobuf and the checker say
        raise ValueError(say("It is no ONNX network, or a damaged one: {error}", error=str(error)[:300])) from error
    graph = model.graph
    if outside := [w.name for w in graph.initializer if w.data_location == onnx.TensorProto.EXTERNAL]:
        raise ValueError(say("Its weights lie in another file ({names}). Export it as one file.", names=outside[:3]))
    if own := sorted({f"{node.domain}.{node.op_type}" for node in graph.node if node.domain not in OPERATORS}):
        raise ValueError(say("It needs operators that are not ONNX's own, which are not run: {names}.", names=own[:5]))
    weights = {w.name: w for w in graph.initializer}
    given = [one for one in graph.input if one.name not in weights]
    if len(given) != 1 or not graph.output:
        raise ValueError(say("A network takes images alone and gives logits; this one takes {count} inputs.",
                             count=len(given)))  # fmt: skip
    kind, sides = given[0].type.tensor_type.elem_type, given[0].type.tensor_type.shape.dim
    if kind != onnx.TensorProto.FLOAT or len(sides) != 4:
        raise ValueError(say("It takes {kind} [{sides}], not float images [N, channels, height, width].",
                             kind=onnx.TensorProto.DataType.Name(kind).lower(),
                             sides=", ".join(str(d.dim_value or d.dim_param or "?") for d in sides)))  # fmt: skip
    batch, channels, height, width = (d.dim_value for d in sides)
    if height != width:
        raise ValueError(say("It takes images of {height} x {width} pixels; they are square here.", height=height,
                             width=width))  # fmt: skip
    last = _maker(graph)
    while last is not None and last.op_type == "Softmax":  # logits are what goes into it
        graph.output[0].name = last.input[0]
        last = _maker(graph)
    head = None if features else _head_of(last, weights, numpy_helper.to_array)
    features = features or (last.input[0] if head is not None else "")
    made = {name for node in graph.node for name in node.output}
    if features and features not in made:
        raise ValueError(say("There is no value {name!r} in the network; the last ones are {names}.", name=features,
                             names=[name for node in graph.node[-6:] for name in node.output]))  # fmt: skip
    del graph.output[1:]
    if features:
        graph.output.append(onnx.helper.make_empty_tensor_value_info(features))
    return Graph(model.SerializeToString(), batch, channels, height, features, head)


def _maker(graph):
    """The node that makes the first output."""
    return next((node for node in graph.node if graph.output[0].name in node.output), None)


def _head_of(last, weights, to_array) -> np.ndarray | None:
    """Weights and biases of the linear layer that makes the output, where it is one node that says so."""
    if last is None or last.op_type != "Gemm" or last.input[1] not in weights:
        return None
    options = {one.name: one for one in last.attribute}
    if any(options[name].f != 1 for name in ("alpha", "beta") if name in options):
        return None
    if "transA" in options and options["transA"].i:
        return None
    weight = to_array(weights[last.input[1]]).astype(np.float32)
    weight = weight if "transB" in options and options["transB"].i else weight.T
    bias = np.zeros(len(weight), np.float32)
    if len(last.input) > 2:
        if last.input[2] not in weights:
            return None
        bias = np.broadcast_to(to_array(weights[last.input[2]]).astype(np.float32), len(weight))
    return np.column_stack([weight, bias])


class Foreign(Method):
    """A graph as a network. order [C]: which of its logits is that of each known class."""

    learns = False

    def __init__(self, graph: Graph, order: list[int]):
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(say(MISSING, names="onnx onnxruntime")) from error
        nn.Module.__init__(self)
        self.graph, self.order, self.backbone = graph, order, Backbone()
        self.sides, self.left_out = nn.ModuleDict(), []
        self.width_of_logits = 0  # until it has seen an image
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
        try:
            self.session = onnxruntime.InferenceSession(graph.content, options, ["CPUExecutionProvider"])
        except Exception as error:  # whatever a graph that cannot run makes the runtime say
            raise ValueError(say("The network does not run here: {error}", error=str(error)[:300])) from error

    def forward(self, x: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N K"], Float[Tensor, "N D"]]:
        images, step = x.detach().cpu().float().contiguous().numpy(), self.graph.batch or len(x)
        logits, features = [], []
        for start in range(0, len(images), step):
            some = images[start : start + step]
            short = step - len(some)
            if short:  # a graph for so many images at a time takes no fewer
                some = np.concatenate([some, np.repeat(some[-1:], short, 0)])
            found = self._run(some)
            count = step - short
            logits.append(found[0][:count])
            features.append(found[1].reshape(step, -1)[:count] if len(found) > 1 else np.zeros((count, 0), np.float32))
        every = torch.from_numpy(np.concatenate(logits))[:, self.order].to(x.device)
        return every, torch.from_numpy(np.concatenate(features)).to(x.device)

    def _run(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            found = self.session.run(None, {self.session.get_inputs()[0].name: images})
        except Exception as error:
            raise ValueError(say("The network does not take images {shape}: {error}", shape=str([*images.shape[1:]]),
                                 error=str(error)[:300])) from error  # fmt: skip
        logits = found[0]
        if logits.ndim != 2 or len(logits) != len(images) or logits.dtype.kind != "f":
            raise ValueError(say("The network gives {kind} {shape}, not logits [{count}, classes].",
                                 kind=str(logits.dtype), shape=str([*logits.shape]), count=len(images)))  # fmt: skip
        self.width_of_logits = logits.shape[1]
        if logits.shape[1] <= max(self.order):
            raise ValueError(say("The network gives {count} logits an image; {classes} classes are wanted.",
                                 count=logits.shape[1], classes=max(self.order) + 1))  # fmt: skip
        return [np.asarray(one, np.float32) for one in found]

    def pooled(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        return features

    def head(self) -> np.ndarray | None:
        return None if self.graph.head is None else self.graph.head[self.order]


def network_of(weights: dict[str, Tensor], how: dict, channels: int, order: list[int]) -> Method:
    """The network of these weights: a graph, under GRAPH byte by byte, or the state of the architecture that how names;
    its features, too, where they are named. Raises ValueError as `read` and `built` do."""
    if GRAPH in weights:
        return Foreign(read(weights[GRAPH].numpy().tobytes(), str(how.get("features", ""))), order)
    return Built(built(str(how.get("architecture", "")), weights, channels), order)


# --- a state dict of torchvision's or timm's networks ----------------------------------------------------------------

LIBRARIES = ("timm", "torchvision")


def built(architecture: str, state: dict[str, Tensor], channels: int) -> nn.Module:
    """The network of this name, as timm/NAME or torchvision/NAME, with these weights; as many classes as they have.

    Raises ValueError where there is no such network, or the weights are another's.
    """
    library, _, name = architecture.partition("/")
    last = [key for key, value in state.items() if value.ndim == 2 and key.endswith("weight")]
    if not last:
        raise ValueError(say("These weights hold no linear layer, which a classifier ends in."))
    count = len(state[last[-1]])
    try:
        if library == "timm":
            import timm

            network = timm.create_model(name, pretrained=False, num_classes=count, in_chans=channels)
        elif library == "torchvision":
            import torchvision

            network = torchvision.models.get_model(name, weights=None, num_classes=count)
        else:
            raise ValueError(say("An architecture is named as timm/NAME or torchvision/NAME, not {name!r}.",
                                 name=architecture))  # fmt: skip
    except (RuntimeError, TypeError) as error:
        raise ValueError(say("There is no such network: {error}", error=str(error)[:300])) from error
    except ValueError as error:
        if library in LIBRARIES:
            raise ValueError(say("There is no such network: {error}", error=str(error)[:300])) from error
        raise
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:300]
        raise ValueError(say("The weights are not those of {name}: {error}", name=architecture, error=text)) from error
    return network


class Built(Method):
    """Such a network. Its features are what its last linear layer reads. order [C]: which of its logits is that of each
    known class."""

    def __init__(self, network: nn.Module, order: list[int]):
        nn.Module.__init__(self)
        self.network, self.order, self.backbone = network, order, Backbone()
        self.sides, self.left_out = nn.ModuleDict(), []
        self.last = [one for one in network.modules() if isinstance(one, nn.Linear)][-1]
        self.width_of_logits = self.last.out_features

    def forward(self, x: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N K"], Float[Tensor, "N D"]]:
        read: list[Tensor] = []
        held = self.last.register_forward_pre_hook(lambda _, given: read.append(given[0]))
        try:
            logits = self.network(x)
        except RuntimeError as error:
            text = " ".join(str(error).split())[:300]
            raise ValueError(say("The network does not take images {shape}: {error}", shape=str([*x.shape[1:]]),
                                 error=text)) from error  # fmt: skip
        finally:
            held.remove()
        return logits[:, self.order], read[0].flatten(1)

    def pooled(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        return features

    def head(self) -> np.ndarray:
        weight, bias = self.last.weight, self.last.bias
        bias = torch.zeros(len(weight)) if bias is None else bias
        return torch.cat([weight, bias[:, None]], 1).detach().float().cpu().numpy()[self.order]
