"""Verdicts on many images, in order, one row each: decoding and the network in several processes of one thread.

Nothing grows with the number of images: a few chunks are under way at a time. What cannot be read is a row with its
error; a process that dies over an image costs that image alone.
"""

import itertools
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import ModuleType
from typing import Any

import numpy as np

from cac_core.data import images
from cac_core.sentences import say
from cac_core.serving.deciders import Decider, one_thread
from cac_core.serving.sources import Reader, Source

CHUNK = 64  # images that a process takes at once
AHEAD = 3  # chunks under way for each process
FEW = 3  # images, one after another, over which a process died: then it is not the images
DIED = say("the process that read it died; it may take more memory than there is")

Row = dict[str, Any]
Seen = tuple[dict[int, str], dict[int, list[str]], tuple[np.ndarray, ...]]  # errors and notes by place, the outputs


def rows(
    decider: Decider, sources: Iterable[Source], *, workers: int = 0, chunk: int = CHUNK, apart: bool = True
) -> Iterator[Row]:
    """A row for each source, in order: path, decision, label, score, theta, gamma and notes, or path and error.

    workers: processes beside this one, 0 for none. apart: whether the network runs in them, too, as on a processor; on
    a graphics card it runs here, and they decode.
    """
    chunks = _batched(sources, chunk)
    if workers:
        seen = _in_processes(decider, chunks, workers, apart)
    else:
        reader = Reader()
        seen = ((some, look(decider, reader, some)) for some in chunks)
    for some, (errors, notes, looked) in seen:
        if workers and not apart and looked:
            looked = decider.looks(looked[0])
        said = iter(decider.says(looked) if looked else [])
        for place, source in enumerate(some):
            if place in errors:
                yield {"path": source.name, "error": errors[place]}
            else:
                yield {"path": source.name, **next(said), "notes": notes[place]}


def _batched(sources: Iterable[Source], count: int) -> Iterator[tuple[Source, ...]]:
    """itertools.batched of Python 3.12."""
    sources = iter(sources)
    while some := tuple(itertools.islice(sources, count)):
        yield some


def look(decider: Decider, reader: Reader, some: tuple[Source, ...], network: bool = True) -> Seen:
    """Decode a chunk and put it through the network; without it, the prepared images stand in the outputs' place."""
    errors, notes, pixels = {}, {}, []
    for place, source in enumerate(some):
        try:
            array, done = images.seen(reader.content(source), decider.row, decider.way)
        except (ValueError, OSError) as error:
            errors[place] = str(error)
        else:
            pixels.append(array)
            notes[place] = [str(note) for note in done]
    if not pixels:
        return errors, notes, ()
    stacked = np.stack(pixels)
    return errors, notes, decider.looks(stacked) if network else (stacked,)


# --- in processes of their own ---------------------------------------------------------------------------------------

_held: dict[str, Any] = {}  # in such a process: what it decides with


def _begin(decider: Decider, network: bool) -> None:
    one_thread()
    _held.update(decider=decider, reader=Reader(), network=network)
    parent = multiprocessing.parent_process()

    def follow() -> None:  # a killed parent cannot end its children
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _work(some: tuple[Source, ...]) -> Seen:
    return look(_held["decider"], _held["reader"], some, _held["network"])


def _in_processes(
    decider: Decider, chunks: Iterable[tuple[Source, ...]], workers: int, apart: bool
) -> Iterator[tuple[tuple[Source, ...], Seen]]:
    def opened() -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=(decider, apart))

    chunks, under_way, pool = iter(chunks), deque[tuple[tuple[Source, ...], Future]](), opened()
    try:
        while True:
            for some in itertools.islice(chunks, workers * AHEAD - len(under_way)):
                under_way.append((some, _given(pool, some)))
            if not under_way:
                return
            some, future = under_way.popleft()
            try:
                seen = future.result()
            except BrokenProcessPool:
                seen = None
            if seen:
                yield some, seen
                continue
            pool.shutdown(wait=False, cancel_futures=True)
            every: list[Seen] = []  # of these one has ended its process
            for one in some:
                every.append(_alone(opened, one))
                if len(every) == FEW and all(errors.get(0) == DIED for errors, *_ in every):
                    raise ValueError(say("Every process that judges images dies at once. Is there memory for it?"))
            yield from (((one,), seen) for one, seen in zip(some, every, strict=True))
            pool = opened()
            under_way = deque((others, _given(pool, others)) for others, _ in under_way)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _given(pool: ProcessPoolExecutor, some: tuple[Source, ...]) -> Future:
    """Give a chunk to the pool, which may start a process for it. That needs nothing of the script that runs here, and
    must not run it again, as multiprocessing would."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        return pool.submit(_work, some)
    except BrokenProcessPool as error:  # a process has died over others meanwhile
        broken: Future = Future()
        broken.set_exception(error)
        return broken
    finally:
        sys.modules["__main__"] = script


def _alone(opened: Callable[[], ProcessPoolExecutor], one: Source) -> Seen:
    with opened() as pool:
        try:
            return _given(pool, (one,)).result()
        except BrokenProcessPool:
            return {0: DIED}, {}, ()
