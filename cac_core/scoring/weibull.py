"""The tails of distances, as OpenMax reads them: a fit to the largest ones, and how far out a new distance lies.

Bendale and Boult (CVPR 2016) use libmr's fit_high: with t = d + 10000 - min(tail), a two-parameter Weibull fitted to t
by maximum likelihood, and its distribution function. Moved that far from zero, a Weibull's logarithm is all but linear
over the tail, so that 1 - exp(-(t / l)^k) is 1 - exp(-exp((x - m) / b)) of x = d - min(tail): the Gumbel distribution
of minima. This fits that limit itself, which needs no 10000 and no digits lost to it; the two agree to the fourth
decimal as long as the tail is short beside 10000. At the smallest distance of the tail the value is not 0 (about .2).

C classes, each with a tail of its own; distances have any unit.
"""

from dataclasses import dataclass

import numpy as np

STEPS = 100  # at most; Newton's steps end after five to ten


@dataclass(frozen=True)
class Tails:
    """Gumbel distributions of minima: of each class the smallest distance of its tail, and place and scale from there.

    start, place, scale: [C]; scale > 0.
    """

    start: np.ndarray
    place: np.ndarray
    scale: np.ndarray

    def cdf(self, d: np.ndarray) -> np.ndarray:
        """F = 1 - exp(-exp((d - start - place) / scale)) of distances d [N, C], each in its class's tail: 0 to 1."""
        # beyond 700 either way F is 0 or 1 to every digit, and exp would overflow
        return -np.expm1(-np.exp(np.clip((d - self.start - self.place) / self.scale, -700, 700)))


def fit_high(tails: np.ndarray) -> Tails:
    """The maximum-likelihood fit to the tail of each class, tails [C, T]: its T largest distances, in any order.

    With x = d - min(tail) and weights e^(x/b), the scale b is the root of (weighted mean of x) - (mean of x) - b, which
    falls from positive to negative on (0, max - mean]; the place is b log mean e^(x/b). Solved by Newton's steps, by
    halving where such a step would leave the bracket. Where all of a tail is one number the likelihood has no
    maximum: the scale is then 1e-12 of that number, so that F is a step there, and finite.
    """
    tails = np.asarray(tails, np.float64)
    start = tails.min(1)
    x = tails - start[:, None]
    floor = 1e-12 * np.abs(tails).max(1) + 1e-100
    unit = np.maximum(x.max(1) - x.mean(1), floor)
    x = x / unit[:, None]  # so that the bracket is (0, 1] for every class
    top, mean = x.max(1), x.mean(1)
    low, high, b = np.zeros(len(x)), np.ones(len(x)), np.full(len(x), 0.5)
    for _ in range(STEPS):
        e = np.exp((x - top[:, None]) / b[:, None])
        e /= e.sum(1, keepdims=True)
        weighted = (e * x).sum(1)
        gap = weighted - mean - b
        low, high = np.where(gap > 0, b, low), np.where(gap > 0, high, b)
        step = b + gap / (1 + (e * (x - weighted[:, None]) ** 2).sum(1) / b**2)
        step = np.where((step > low) & (step < high), step, (low + high) / 2)
        done, b = np.abs(step - b).max() <= 1e-15, step
        if done:
            break
    b = np.maximum(b, floor / unit)
    place = top + b * np.log(np.exp((x - top[:, None]) / b[:, None]).mean(1))
    return Tails(start, place * unit, b * unit)


def fit_each(tails: list[np.ndarray]) -> Tails:
    """`fit_high` of tails that may be of different lengths."""
    if len({len(tail) for tail in tails}) == 1:
        return fit_high(np.array(tails))
    each = [fit_high(tail[None]) for tail in tails]
    return Tails(*(np.concatenate([getattr(one, name) for one in each]) for name in ("start", "place", "scale")))
