"""Several processes that train one run together, as torchrun starts them; without torchrun all of this does nothing.

torchrun --nproc-per-node 2 -m cac_core train --dataset digits

Every process holds the whole network and takes its share of each batch. Sums over the processes make of the shares
what one process would have had: the gradients and loss terms (a method's terms are means over images) and the
statistics of batch norm. Dropout and stochastic depth are drawn for the whole batch by every process, alike. So the
losses are those of one process, to the rounding of float sums (which grows from step to step, so that the weights are
not the same bits), with two exceptions that agree in expectation only: efficientnet-b0 to b7, whose connections are
dropped alike in every share, and masks that a GPU draws image by image.

Only the first process writes. A process that ends takes the others with it; the run goes on from where it was saved.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

# Its functions keep hold of the group that there is when it is imported, which torch does by itself at some later time.
# Kept so, a group's threads outlive it, and sometimes abort the process as it ends; so it is imported before any.
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from cac_core.sentences import say


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """While open, this process is one of those that torchrun started. Gives its device: each has a GPU of its own."""
    if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield device
        return
    device = _own(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    except RuntimeError as error:
        if reason := lost(error):
            raise RuntimeError(reason) from error
        raise
    finally:
        dist.destroy_process_group()


def _own(device: torch.device) -> torch.device:
    if device.type == "cpu":
        return device
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if device.type != "cuda" or device.index is not None or number >= gpus:
        raise ValueError(say(
            "Process {number} of torchrun has no device of its own: --device is {device}, and there are {gpus} GPUs. "
            "Give --device cuda and --nproc-per-node at most their number, or --device cpu.",
            number=number + 1, device=device, gpus=gpus,
        ))  # fmt: skip
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def lost(error: Exception) -> str:
    """What to tell where the error is that another process has gone; empty where it is another one."""
    if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
        return say(
            "Another of the processes that train together has ended; its own message says why. Train it again to go on."
        )
    return ""


def processes() -> int:
    """How many train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among those of torchrun, from 0."""
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def only_first(function: Callable[..., None]) -> Callable[..., None]:
    """What only the first process does, because it writes; in the others it does nothing."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> None:
        if rank() == 0:
            function(*arguments, **options)

    return guarded


def gathered(value: Any) -> list[Any]:
    """The value that each process has, by rank. All wait here for each other."""
    values = [value] * processes()
    if processes() > 1:
        dist.all_gather_object(values, value)
    return values


def any_of(flag: bool) -> bool:
    """Whether it is so in any process: the same answer for all."""
    if processes() == 1:
        return flag
    said = torch.tensor(int(flag))
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return bool(said)


def add_up(tensors: list[Tensor]) -> None:
    """Replace each tensor by its sum over the processes; one message for all of them."""
    if processes() == 1:
        return
    whole = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(whole)
    for tensor, total in zip(tensors, whole.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def share(network: nn.Module, batch: int, mine: slice) -> None:
    """Let the layers that look across a batch, or draw for it, do so for all of it; this process has images mine.

    The names of the network's weights stay.
    """
    if processes() == 1:
        return
    if next(network.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            module.forward = functools.partial(_batch_norm, module, module.forward, batch)
        elif isinstance(module, nn.Dropout | nn.Dropout2d) or type(module).__name__ == "StochasticDepth":
            module.forward = functools.partial(_dropout, module, module.forward, batch, mine)


def _batch_norm(
    module: _BatchNorm, alone: Callable, batch: int, x: Float[Tensor, "N C ..."]
) -> Float[Tensor, "N C ..."]:
    """Batch norm by the images of all processes, as nn.SyncBatchNorm has it for GPUs only."""
    if not module.training:
        return alone(x)
    axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
    near = module.running_mean.clone()  # about the mean: from it, squares are summed without losing digits
    y = x.to(near.dtype) - near.view(shape)  # half precision is for the convolutions
    count = batch * y[0, 0].numel()
    mean, square = (all_reduce(torch.cat([y.sum(axes), y.square().sum(axes)])) / count).chunk(2)
    variance = (square - mean.square()).clamp(min=0)
    with torch.no_grad():
        module.running_mean.lerp_(near + mean, module.momentum)
        module.running_var.lerp_(variance * count / (count - 1), module.momentum)
        module.num_batches_tracked += 1
    scale = module.weight * (variance + module.eps).rsqrt()
    return ((y - mean.view(shape)) * scale.view(shape) + module.bias.view(shape)).to(x.dtype)


def _dropout(module: nn.Module, draw: Callable, batch: int, mine: slice, x: Float[Tensor, "N C ..."]) -> Tensor:
    """Every process draws for the whole batch, from generators that go alike, and takes its own images' part."""
    if not module.training or module.p == 0:
        return x
    places = x.shape[2:] if isinstance(module, nn.Dropout) else (1,) * (x.ndim - 2)  # the others drop whole channels
    whole = x.new_ones(batch, x.shape[1], *places)
    if x.ndim == 4:
        whole = whole.contiguous(memory_format=torch.channels_last)  # the order that one process would draw in
    return x * draw(whole)[mine]
