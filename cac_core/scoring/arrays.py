"""The arithmetic that scorers share: softmax and its logarithm, rows of length 1, tables in pieces, checks of options.

N images, D width of a row.
"""

import sys
from collections.abc import Iterator

import numpy as np

from cac_core.sentences import say

BLOCK = 2**24  # bytes of a table in work at one time: what stays near the processor
GROUP = 16  # columns that ranked takes together at first


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis, without overflow."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_sum_exp(x: np.ndarray) -> np.ndarray:
    """log(sum(exp x)) along the last axis, without overflow."""
    top = x.max(-1)
    return top + np.log(np.exp(x - top[..., None]).sum(-1))


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Of rows [N, C], with its digits where one share is nearly 1: log1p of what the others are to it."""
    x = x - x.max(1, keepdims=True)
    others = np.exp(x)
    np.put_along_axis(others, x.argmax(1)[:, None], 0, 1)
    return x - np.log1p(others.sum(1))[:, None]


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows [N, D] brought to length 1, in float64; a row of zeros stays as it is."""
    x = x.astype(np.float64)
    length = np.sqrt(np.einsum("nd,nd->n", x, x))
    x /= np.where(length > 0, length, 1)[:, None]
    return x


def blocks(n: int, width: int) -> Iterator[slice]:
    """Pieces of n rows, so that a table of such a piece, a row of it `width` bytes, stays within BLOCK."""
    rows = max(1, BLOCK // max(1, width))
    return (slice(at, at + rows) for at in range(0, n, rows))


def ranked(table: np.ndarray, first: int, last: int) -> np.ndarray:
    """Where the numbers of rank first to last - 1 stand in each row of table [N, M], 0 the largest: [N, last - first].

    Of a wide table, columns are first taken GROUP at a time: the largest `last` numbers of a row lie in the `last`
    groups with the largest maxima, so that only these have to be looked through.
    """
    (n, width), groups = table.shape, table.shape[1] // GROUP
    if groups < 4 * last:
        return _ranked(table, first, last)
    even = groups * GROUP
    largest = table[:, :even].reshape(n, GROUP, groups).max(1)
    columns = _ranked(largest, 0, last)[:, None] + groups * np.arange(GROUP)[:, None]
    columns = np.column_stack([columns.reshape(n, -1), np.tile(np.arange(even, width), (n, 1))])
    found = _ranked(np.take_along_axis(table, columns, 1), first, last)
    return np.take_along_axis(columns, found, 1)


def _ranked(table: np.ndarray, first: int, last: int) -> np.ndarray:
    # torch's topk works on all cores; it is taken where torch is loaded already, which this module never does itself
    topk = getattr(sys.modules.get("torch"), "topk", None)  # None also while another thread is still loading torch
    if topk is not None:
        return topk(sys.modules["torch"].from_numpy(table), last).indices.numpy()[:, first:]
    top = np.argpartition(table, table.shape[1] - last, 1)[:, table.shape[1] - last :]
    order = np.argsort(-np.take_along_axis(table, top, 1), 1)[:, first:]
    return np.take_along_axis(top, order, 1)


def positive(value: float, what: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(say("{what} must be a positive number, not {value}.", what=what, value=value))
    return value


def at_least(value: int, least: int, what: str) -> int:
    if value < least:
        raise ValueError(
            say("{what} must be a whole number of at least {least}, not {value}.", what=what, least=least, value=value)
        )
    return value
