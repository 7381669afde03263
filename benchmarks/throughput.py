"""Training throughput, ours against a loop in the usual style, side by side in one process.

python benchmarks/throughput.py [--images 2560] [--rounds 3]

Both train the paper's network on the same CIFAR-shaped images (32 x 32, colour, 6 classes) with the paper's
augmentation and loss, batch 128, and see every image of an epoch once. Usual: a DataLoader over PIL images
(RandomResizedCrop, flip, rotation, ToTensor, Normalize), float32, the negatives gathered by Python lists. Ours: the
training loop's own Batches and Method, as `train` runs them here. The rounds alternate; each is one epoch, the first
of each is not counted.
"""

import argparse
import statistics
import time

import machine
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
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
    method = build(RECIPE, CLASSES, 3, 32).to(device).train()
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


def ours(part: datasets.Part, device: torch.device):
    method = build(RECIPE, CLASSES, 3, 32)
    method.half = half_of(device, "auto", "plain")
    method.to(device, memory_format=torch.channels_last).train()
    row = datasets.FOLDER  # crops of 0.8 to 1, mirrored, turned by 10 degrees
    batches = Batches(part, row, STATS, batch=BATCH, seed=0, device=device)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-6)
    number = iter(range(10**6))

    def epoch() -> None:
        for x, y in batches.epoch(next(number)):
            for _, terms in method.losses(x, y):
                optimizer.zero_grad(set_to_none=True)
                terms["total"].backward()
                optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return epoch


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="DataLoader processes of the usual loop")
    parser.add_argument("--backbone", default="plain")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    WORKERS, RECIPE = arguments.workers, compose(dataset="digits", backbone=arguments.backbone)
    count = arguments.images // BATCH * BATCH
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, count)
    part = datasets.Part(random.integers(0, 256, (count, 32, 32, 3), np.uint8), labels, labels, np.arange(count))
    device = device_of(arguments.device)
    torch.manual_seed(0)
    loops = {"usual": usual(part, device), "ours": ours(part, device)}
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
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    print(f"ratio  {statistics.median(ratios):7.2f}            ({min(ratios):.2f} to {max(ratios):.2f})")
