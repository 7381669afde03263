"""Training throughput, ours against a loop in the usual style, side by side in one process.

python benchmarks/throughput.py [--images 2560] [--rounds 3] [--loops usual ours fast]

Usual and ours train the paper's network on the same CIFAR-shaped images (32 x 32, colour, 6 classes) with the paper's
augmentation and loss, batch 128, and see every image of an epoch once. Usual: a DataLoader over PIL images
(RandomResizedCrop, flip, rotation, ToTensor, Normalize), float32, the negatives gathered by Python lists. Ours: the
training loop's own Batches and Method, as `train` runs them here. Fast is ours with the preset fast: its network,
batch, augmentation and optimizer. The rounds alternate; each is one epoch, the first of each is not counted.

Then, of ours and fast, where the time of a step goes, and what share of the machine's limit the step reaches: the
multiplications of its forward and backward pass, counted by torch, over its time, against those of one large product
of matrices in the same precision, timed beside it.
"""

import argparse
import math
import statistics
import time

import machine
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from cac_core.data import datasets
from cac_core.networks.inputs import device_of, half_of
from cac_core.recipe import compose
from cac_core.results.evaluate import build
from cac_core.training.batches import Batches

CLASSES, BATCH = 6, 128
STATS = (0.49, 0.48, 0.44), (0.25, 0.24, 0.26)


class PilImages(Dataset):
    def __init__(self, part: datasets.Part):
        self.part = part
        self.transform = transforms.Compose([
            transforms.RandomResizedCrop(32, scale=(0.8, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(10),
            transforms.ToTensor(),
            transforms.Normalize(*STATS),
        ])  # fmt: skip

    def __len__(self):
        return len(self.part)

    def __getitem__(self, i):
        return self.transform(Image.fromarray(self.part.pixels[i])), int(self.part.labels[i])


def usual(part: datasets.Part, device: torch.device):
    """One epoch at a time of a loop as open-set repositories write it."""
    method = build(OURS, CLASSES, 3, 32).to(device).train()
    anchors = method.anchors
    optimizer = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-6)
    loader = DataLoader(PilImages(part), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=WORKERS)

    def epoch() -> None:
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            logits = nn.Linear.forward(method.classify, method.backbone(x))
            d = torch.norm(logits[:, None, :] - anchors[None], 2, 2)
            true = d.gather(1, y[:, None]).view(-1)
            others = torch.Tensor([[i for i in range(CLASSES) if y[n] != i] for n in range(len(y))]).long().to(device)
            tuplet = torch.exp(-d.gather(1, others) + true[:, None])
            loss = torch.log(1 + tuplet.sum(1)).mean() + 0.1 * true.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    return epoch


class Ours:
    """The training loop's own pieces, for a recipe."""

    def __init__(self, recipe, part: datasets.Part, device: torch.device):
        self.method, self.device = build(recipe, CLASSES, 3, 32), device
        self.method.half = half_of(device, "auto", recipe.backbone)
        self.method.to(device, memory_format=torch.channels_last).train()
        self.batches = Batches(
            part, datasets.FOLDER, STATS, batch=recipe.batch, seed=0, device=device, augment=recipe.augment,
            cutout=recipe.cutout,
        )  # fmt: skip
        learns = [p for p in self.method.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(
            learns, lr=0.01, momentum=recipe.momentum, weight_decay=recipe.decay,
            nesterov=recipe.optimizer == "nesterov",
        )  # fmt: skip
        self.number = iter(range(10**6))

    def __call__(self) -> None:
        for x, y in self.batches.epoch(next(self.number)):
            for _, terms in self.method.losses(x, y):
                self.optimizer.zero_grad(set_to_none=True)
                terms["total"].backward()
                self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def parts(self) -> tuple[dict[str, float], float]:
        """Seconds of an epoch by part, and the multiplications of one step, forward and backward."""
        spent = dict.fromkeys(("data", "forward", "backward", "optimizer"), 0.0)
        last = time.perf_counter()

        def told(name: str) -> None:
            nonlocal last
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            spent[name] += now - last
            last = now

        for x, y in self.batches.epoch(next(self.number)):
            told("data")
            for _, terms in self.method.losses(x, y):
                told("forward")
                self.optimizer.zero_grad(set_to_none=True)
                terms["total"].backward()
                told("backward")
                self.optimizer.step()
                told("optimizer")
        with FlopCounterMode(display=False) as counted:
            for _, terms in self.method.losses(x, y):
                terms["total"].backward()
        return spent, counted.get_total_flops() / 2


def limit(half: torch.dtype | None, device: torch.device, seconds: float = 2.0) -> float:
    """Multiplications a second of one large product of matrices."""
    side = 4096 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=half or torch.float32) for _ in range(2))
    a @ b
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        count += 1
    return count * side**3 / (time.perf_counter() - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="DataLoader processes of the usual loop")
    parser.add_argument("--loops", nargs="+", default=["usual", "ours", "fast"], choices=["usual", "ours", "fast"])
    parser.add_argument("--backbone", default="plain", help="of usual and ours")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    WORKERS = arguments.workers
    OURS = compose(dataset="digits", backbone=arguments.backbone, batch=BATCH, decay=5e-6)
    fast = compose("fast", dataset="CIFAR10")
    whole = math.lcm(BATCH, fast.batch)
    count = max(arguments.images // whole, 1) * whole
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, count)
    part = datasets.Part(random.integers(0, 256, (count, 32, 32, 3), np.uint8), labels, labels, np.arange(count))
    device = device_of(arguments.device)
    torch.manual_seed(0)
    every = {
        "usual": lambda: usual(part, device), "ours": lambda: Ours(OURS, part, device),
        "fast": lambda: Ours(fast, part, device),
    }  # fmt: skip
    loops = {name: every[name]() for name in arguments.loops}
    speeds = {name: [] for name in loops}
    for round in range(arguments.rounds + 1):
        for name, epoch in loops.items():
            began = time.perf_counter()
            epoch()
            if round:
                speeds[name].append(count / (time.perf_counter() - began))
    print(machine.described())
    print(f"{count} images an epoch, {arguments.rounds} rounds, {WORKERS} workers, {arguments.backbone}, {device}")
    for name, values in speeds.items():
        print(f"{name:6} {statistics.median(values):7.0f} images/s   ({min(values):.0f} to {max(values):.0f})")
    first = next(iter(speeds))
    for name in list(speeds)[1:]:
        ratios = [b / a for a, b in zip(speeds[first], speeds[name], strict=True)]
        print(f"{name} / {first}: {statistics.median(ratios):.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")
    for name, loop in loops.items():
        if isinstance(loop, Ours):
            spent, multiplied = loop.parts()
            whole, most = sum(spent.values()), limit(loop.method.half, device)
            said = ", ".join(f"{part} {100 * some / whole:.0f} %" for part, some in spent.items())
            rate = multiplied * loop.batches.steps / whole
            print(
                f"{name:6} {said}; {rate / 1e9:.0f} of {most / 1e9:.0f} G multiplications/s, {100 * rate / most:.0f} %"
            )
