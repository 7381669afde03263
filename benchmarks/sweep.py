"""The sweep over temperature and magnitude, ours against the plain nested loop, side by side in one process.

python benchmarks/sweep.py [--images 256] [--rounds 3]

The paper's network (untrained: the arithmetic is the same) on CIFAR-shaped images, the command line's temperatures and
magnitudes, float32. Plain: for every cell a forward, a backward with the parameters' gradients, and a forward.
"""

import argparse
import resource
import statistics
import time

import machine
import numpy as np
import torch
import torch.nn.functional as F

from cac_core.networks.inputs import device_of, on_device
from cac_core.recipe import compose
from cac_core.results.evaluate import Network, build
from cac_core.results.sweep import MAGNITUDES, TEMPERATURES, cells

STATS = (0.49, 0.48, 0.44), (0.25, 0.24, 0.26)


def plain(network: Network, pixels: np.ndarray, centres: torch.Tensor) -> np.ndarray:
    network.method.requires_grad_(True)
    out = []
    for temperature in TEMPERATURES:
        for magnitude in MAGNITUDES:
            x = (on_device(pixels, network.device).float() / 255).requires_grad_()
            affinity = -torch.cdist(network(x)[0], centres, compute_mode="donot_use_mm_for_euclid_dist")
            F.cross_entropy(affinity / temperature, affinity.argmax(1), reduction="sum").backward()
            network.method.zero_grad()
            with torch.no_grad():
                out.append(network(x - magnitude * x.grad.sign())[0].cpu().numpy())
    network.method.requires_grad_(False)
    return np.stack(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    a = parser.parse_args()
    torch.manual_seed(0)
    network = Network(build(compose(backbone="plain"), 6, 3, 32), STATS, device_of(a.device))
    pixels = np.random.default_rng(0).integers(0, 256, (a.images, 32, 32, 3), np.uint8)
    centres = 10 * torch.eye(6, device=network.device)
    loops = {
        "plain": lambda: plain(network, pixels, centres),
        "ours": lambda: cells(network, pixels, centres, TEMPERATURES, MAGNITUDES),
    }
    times = {name: [] for name in loops}
    for round in range(a.rounds + 1):
        for name, loop in loops.items():
            began = time.perf_counter()
            loop()
            if round:
                times[name].append(time.perf_counter() - began)
    print(machine.described())
    print(f"{a.images} images, {len(TEMPERATURES)} x {len(MAGNITUDES)} cells, {a.rounds} rounds, {network.device}")
    for name, values in times.items():
        print(f"{name:6} {statistics.median(values):7.2f} s   ({min(values):.2f} to {max(values):.2f})")
    ratios = [p / o for p, o in zip(times["plain"], times["ours"], strict=True)]
    print(f"ratio  {statistics.median(ratios):7.2f}     ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
