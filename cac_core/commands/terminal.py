"""What the commands say on a terminal: progress, numbers, times; and options that are written --name value."""

import json
import os
import sys
from pathlib import Path
from typing import IO, Any

# in words, since to look them up takes numpy, which no help should wait for
SCORERS = (
    "by logits: gamma, distance, msp, temperature_scaling, max_logit, energy, entropy, gen, margin, kl_matching, "
    "openmax, unknown_class, given; by features: knn, nnguide, mahalanobis, rmds, gmm, cosine, she, residual, vim, "
    "fdbd, placeholder, latent_openmax; by features through the head: react, ash_p, ash_b, ash_s, scale, dice or "
    "gradnorm"
)
SCORER_OPTIONS = (
    "options of the scorers, as --NAME VALUE:\n  centres means|anchors (gamma, distance), temperature (gamma, msp, "
    "energy),\n  power, top (gen), tail, alpha, metric euclidean|eucos (openmax, latent_openmax), k (knn, "
    "nnguide),\n  covariance shared|full (gmm), dim (residual, vim), clip (react), prune (ash_p, ash_b, ash_s, "
    "scale),\n  sparsity (dice), scaling none|each (latent_openmax)"
)


class Unread(Exception):
    """Nobody reads standard output any more, as after `| head`."""


def tell(text: str) -> None:
    """Print a result. Raises Unread, and OSError where standard output is a file that cannot be written."""
    try:
        print(text, flush=True)
    except OSError as error:
        silence(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise Unread from error
        raise


def silence(stream: IO[str]) -> None:
    """Let what is written to a stream that has gone away go nowhere; else Python tries again, and complains, too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def aside(text: str) -> None:
    """Print progress, which nobody may read any more: the work goes on all the same."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def printable(text: str, stream: IO[str] | None = None) -> str:
    """The text as a terminal can show it: letters that its encoding lacks, and bytes of file names that are no text,
    are escaped."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def as_json(result: Any) -> str:
    """One JSON object, with the letters themselves where the terminal can show them."""
    text = json.dumps(result, ensure_ascii=False)
    return text if text == printable(text) else json.dumps(result)


def report_lines(numbers: dict[str, Any]) -> list[str]:
    """A report as `judge.plain` leaves it: a number or an end of an interval that does not exist is None."""

    def share(value: float | None, interval: list[float | None] | None = None) -> str:
        if value is None:
            return "-"
        known = interval is not None and None not in interval
        return f"{value:.4f}" + (f"   95 % interval {interval[0]:.4f} to {interval[1]:.4f}" if known else "")

    sure = numbers["intervals"]
    said = [("scorer", numbers["scorer"]), ("test images", f"{numbers['knowns']} known, {numbers['unknowns']} unknown")]
    plain = ("accuracy", "auroc", "aupr_known", "aupr_unknown", "fpr_at_95_knowns_kept", "fpr_at_95_unknowns_caught",
             "oscr")  # fmt: skip
    said += [(name, share(numbers[name], sure.get(name))) for name in plain]
    said += [("theta", f"{numbers['theta']:.4g}   {numbers['theta_rule']}")]
    said += [(name, share(value, sure.get(name))) for name, value in numbers["at_theta"].items()]
    worth = numbers["quality"]
    said += [(name, worth[key]) for name, key in (("quality", "word"), ("", "why"), ("", "advice")) if key in worth]
    return [f"{name:26} {value}" for name, value in said]


def bar():
    bars = {}

    def progress(split: str, done: int, of: int) -> None:
        from tqdm import tqdm

        if not sys.stderr.isatty():
            return
        if split not in bars:
            bars[split] = tqdm(total=of, desc=split, unit="image")
        bars[split].n = done
        bars[split].refresh()
        if done == of:
            bars[split].close()

    return progress


def listed(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "none"


def tell_ahead(root: Path, name: str, size: int) -> None:
    """What decoding an image folder takes, where that is long, before it begins."""
    from cac_core.data import datasets, sources

    found = sources.ahead(root, name, datasets.row_of(name, root, size))
    if found and found.seconds > 10:
        aside(
            f"{found.images} images are decoded first, once: about {span(found.seconds)}, {found.size / 1e6:.0f} of "
            f"the {found.free / 1e6:.0f} MB that are free. Whatever is interrupted goes on from there."
        )


def pace(a_second: float) -> str:
    """So many images a second, or, of what takes longer, seconds an image."""
    if 0 < a_second < 1:
        return f"{1 / a_second:.1f} s an image"
    return f"{a_second:.{int(0 < a_second < 10)}f} images/s"


def span(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {seconds} s"
        if minutes
        else f"{seconds} s"
    )
