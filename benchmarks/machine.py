"""What a number was measured on: processor or card, cores, versions, date."""

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path


def described() -> str:
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = lines[0].split(":")[1].strip() if lines else cpu
    able = torch.cpu.get_capabilities()
    extra = [name for name in ("avx512_bf16", "amx_bf16") if able.get(name)]
    card = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("torch", "torchvision", "numpy"))
    return (
        f"{datetime.date.today()}, {cpu} ({' '.join(extra) or 'no bfloat16'}), {os.cpu_count()} cores{card}, "
        f"Python {platform.python_version()}, {versions}"
    )
