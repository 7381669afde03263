"""Records and addresses as nobody should write them, drawn by a seed: what the tests and benchmarks/foreign.py try."""

import ast
import io
import json
import os
import random
import re
import shutil
import signal
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app import links, results
from cac_core import runs
from cac_core.exchange import share, shelf
from cac_core.jobs import launch
from cac_core.results import judge, project, sweep, table
from cac_core.runs import Run

ROOT = Path(__file__).parents[1]
DEEP = "[" * 100_000
TEXTS = (
    "", "x" * 300, "é" * 5000, "\ud800", "\0", "a\nb", "../../etc/passwd", "/dev/zero", "nan", "-inf", "1e400", "true",
    "<script>", "${x}", "{name}", "%s", "🦆", "\u202e", "cac", "CIFAR10", "outputs", "0",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2.5, 1e30, -1e30, 1e-320, 10**30, 10**400, float("nan"), float("inf"), [], {}, [[]],
    [None], {"a": None}, {"": {}}, [1, "2", None], list(range(2000)), *TEXTS,
)  # fmt: skip


def value(rng: random.Random) -> Any:
    return rng.choice(VALUES)


def _places(said: Any, at: tuple = ()) -> list[tuple]:
    """The way to every value inside."""
    inner = said.items() if isinstance(said, dict) else enumerate(said[:20]) if isinstance(said, list) else ()
    return [at, *(place for name, one in inner for place in _places(one, (*at, name)))]


def changed(said: Any, rng: random.Random) -> Any:
    """JSON with one to three of its values replaced, taken out, added to, or put elsewhere."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.choice(_places(said))
        if not place:
            said = value(rng) if rng.random() < 0.3 else said
            continue
        inside = said
        for name in place[:-1]:
            inside = inside[name]
        how = rng.random()
        if how < 0.6:
            inside[place[-1]] = value(rng)
        elif how < 0.75:
            del inside[place[-1]]
        elif isinstance(inside, dict):
            inside[rng.choice(TEXTS)] = value(rng)
        else:
            inside.append(value(rng))
    return said


def text(said: Any) -> bytes:
    return json.dumps(said).encode()


def json_of(good: bytes, rng: random.Random) -> bytes:
    """A JSON file that is not as it was."""
    lines = good.splitlines() if good.count(b'{"time"') > 1 else []
    if lines and rng.random() < 0.8:
        place = rng.randrange(len(lines))
        lines[place] = text(changed(json.loads(lines[place]), rng))
        return b"\n".join(lines)
    if rng.random() < 0.75 and not lines:
        return text(changed(json.loads(good), rng))
    return rng.choice((
        lambda: b"", lambda: good[: rng.randrange(len(good))], lambda: good[::-1], lambda: DEEP.encode(),
        lambda: b'{"a":' * 50_000, lambda: b"\xff\xfe\0", lambda: good.decode().encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + good, lambda: b"[" + good + b"]", lambda: b"[" + b"[]," * 300_000 + b"[]]",
        lambda: bytes(rng.randrange(256) for _ in range(500)), lambda: b"{" + b'"a":1,' * 10 + b'"a":1}',
        lambda: b"\n" * 600_000, lambda: b'"' + b"a" * 5_000_000 + b'"',
    ))()  # fmt: skip


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def with_header(name: str, shape: str, kind: str, content: bytes = b"", claimed: int | None = None) -> bytes:
    """An .npz of one array whose header says what it likes; claimed: the size that the zip says it has."""
    said = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    said += b" " * (-(len(said) + 11) % 64) + b"\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{name}.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(said)) + said + content)
    raw = packed.getvalue()
    if claimed is None:
        return raw
    at = raw.index(b"PK\x01\x02") + 24  # of the directory; the local header is not asked
    return raw[:at] + struct.pack("<I", claimed) + raw[at + 4 :]


def bomb(name: str, rows: int, width: int) -> bytes:
    """An .npz of one array of zeros, float32 [rows, width], a thousandth of its size; its header and its sum are right.

    Made of one deflated piece again and again, so that it takes no time to make.
    """
    total, piece = rows * width * 4, 1 << 26
    said = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}".encode()
    said += b" " * (-(len(said) + 11) % 64) + b"\n"
    head = b"\x93NUMPY\x01\0" + struct.pack("<H", len(said)) + said
    assert not total % piece
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = deflate.compress(head) + deflate.flush(zlib.Z_FULL_FLUSH)
    zeros = deflate.compress(bytes(piece)) + deflate.flush(zlib.Z_FULL_FLUSH)
    crc = zlib.crc32(head)
    for _ in range(total // piece):
        crc = zlib.crc32(bytes(piece), crc)
    body, entry = start + zeros * (total // piece) + deflate.flush(), f"{name}.npy".encode()
    size = len(head) + total
    about = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, crc, len(body), size, len(entry), 0)
    local = b"PK\x03\x04" + about + entry + body
    listed = b"PK\x01\x02" + struct.pack("<H", 20) + about + struct.pack("<HHHII", 0, 0, 0, 0, 0) + entry
    return local + listed + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed), len(local), 0)


def npz_of(good: bytes, rng: random.Random) -> bytes:
    """An .npz that is not as it was."""
    with np.load(io.BytesIO(good)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = rng.choice(list(arrays))
    one = arrays[name]
    rare = rng.random()
    if rare < 0.15:
        return rng.choice((
            lambda: good[: rng.randrange(len(good))], lambda: b"", lambda: b"PK\x03\x04", lambda: good[::-1],
            lambda: with_header(name, "(1000000000000, 6)", "<f4"), lambda: with_header(name, "(-5, -5)", "<f4"),
            lambda: with_header(name, f"({'(' * 500}", "<f4"), lambda: with_header(name, "(3,)", "|O", b"abc"),
            lambda: with_header(name, "(250000000,)", "<f4", b"", 1_000_000_000), lambda: b"\0" * 5000,
            lambda: bytes(b ^ (rng.random() < 0.001) * 255 for b in good[:200_000]),
        ))()  # fmt: skip
    kinds = (
        lambda: one[:-1] if one.ndim else one, lambda: one[None], lambda: one.ravel()[:0], lambda: np.array(7),
        lambda: np.array(["a"]), lambda: np.array({"a": 1}, dtype=object), lambda: np.array(one, dtype=bool),
        lambda: one.astype(complex) if one.dtype.kind in "fiu" else np.zeros(3), lambda: np.zeros((2, 2, 2)),
        lambda: np.full(one.shape, np.nan) if one.dtype.kind == "f" else np.full(one.shape, -7),
        lambda: np.full(one.shape, np.inf) if one.dtype.kind == "f" else np.full(one.shape, 2**40),
        lambda: one.astype(one.dtype.newbyteorder(">")) if one.dtype.kind in "fiu" else one,
        lambda: np.concatenate([one, one]) if one.ndim else one, lambda: np.zeros(one.shape, one.dtype),
        lambda: np.full(one.shape, 1e300) if one.dtype.kind == "f" else np.arange(one.size).reshape(one.shape),
    )  # fmt: skip
    if rare < 0.25:
        del arrays[name]
    else:
        arrays[name] = rng.choice(kinds)()
    return npz(arrays)


def in_place_of(file: Path, outside: Path, rng: random.Random) -> str:
    """Put what is no plain file, or far too much of one, where a file was; what it is."""
    file.unlink()
    kinds: dict[str, Callable[[], Any]] = {
        "a pipe": lambda: os.mkfifo(file),
        "a folder": file.mkdir,
        "a link to a file outside": lambda: file.symlink_to(outside / "secret"),
        "a link to itself": lambda: file.symlink_to(file.name),
        "a link to a device": lambda: file.symlink_to("/dev/zero"),
        "200 MB": lambda: (file.touch(), os.truncate(file, 200 << 20)),
    }
    name = rng.choice(list(kinds))
    kinds[name]()
    return name


def restored(path: Path, whole: Path) -> None:
    """Make a run again what it was."""
    if path.is_symlink():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path, copy_function=os.link)


def mutant(path: Path, outside: Path, rng: random.Random) -> str:
    """Change one file of a run, or what stands in its place, and say which and how."""
    files = [file for file in sorted(path.rglob("*")) if file.suffix in (".json", ".jsonl", ".npz")]
    file = rng.choice(files)
    name = str(file.relative_to(path))
    if rng.random() < 0.15:
        return f"{name}: {in_place_of(file, outside, rng)}"
    if rng.random() < 0.03:
        folder = rng.choice([path, *(one for one in path.iterdir() if one.is_dir())])
        folder.rename(outside / f"{rng.random()}")
        folder.symlink_to(max(outside.iterdir(), key=lambda one: one.stat().st_ctime_ns))
        return f"{folder.name}: a link to a folder outside"
    good = file.read_bytes()
    file.unlink()
    file.write_bytes(npz_of(good, rng) if file.suffix == ".npz" else json_of(good, rng))
    return f"{name}: changed"


# --- addresses -------------------------------------------------------------------------------------------------------

WORDS = (
    "", "0", "-1", "1", "2", "95", "1e999", "nan", "inf", "-inf", "0x10", "1_000", "٣", "true", "false", "True", "a,b",
    'a,"b', '"', "1,2,3", "9" * 5000, "a\nb", "1,\n2", "a\r,b", "\0", "a," * 2000, "x" * 200_000, "../..", "%00", "🦆",
    "é", "\u202e", "gamma", "distance", "msp", "knn", "means", "anchors", "cac", "finished", "digits", "umap", "pca",
    "own", "number", "kept", "hand", "youden", "cost", "fpr", "drawing", "picture", "None", "null", "[]", "{}", "<b>",
)  # fmt: skip


def names_in_addresses() -> list[str]:
    """What any page reads in an address."""
    tables = (name for table in tables_of_addresses() for name in table)
    form = re.findall(r'"(new_\w+)"', (ROOT / "app" / "pages" / "new.py").read_text("utf-8"))
    return sorted({*tables, *form, "run", "lang", "card", "present", "ids"})


def tables_of_addresses() -> list[links.Links]:
    """The tables by which pages read their addresses."""
    found = [links.LINKS]
    for file in sorted((ROOT / "app" / "pages").glob("*.py")):
        body = ast.parse(file.read_text("utf-8")).body
        named = [node for node in body if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "LINKS"]
        if named:
            kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.Assign)
            simple = [node for node in body[: body.index(named[0])] if isinstance(node, kept)]
            space = {}
            exec(compile(ast.Module([*simple, *named], []), str(file), "exec"), space)
            found.append(space["LINKS"])
    return found


def address(names: list[str], rng: random.Random) -> dict[str, str]:
    """Some parameters of these names, each at random: what a link that somebody has written by hand may say."""
    some = rng.sample(names, min(len(names), rng.choice((1, 2, 3, 5, 8))))
    return {name: rng.choice(WORDS) if rng.random() < 0.8 else ",".join(rng.sample(WORDS, 3)) for name in some}


# --- what is asked of a store with such a run in it ------------------------------------------------------------------


class Stuck(BaseException):
    """It waited for something that does not come."""


def _stuck(*_) -> None:
    raise Stuck


def questions(run: Run, into: Path | None) -> dict[str, Callable[[], Any]]:
    """All that pages and commands read of a run, by name; into: where a copy of it goes, or None for
    what takes no time alone."""
    one = run.path.parent
    return {
        "rows": lambda: [results.row_of(each) for each in runs.every(one)],
        "problem": run.problem,
        "status": lambda: run.status,
        "events": lambda: (run.events(), run.epochs()),
        "report": run.report,
        "snapshots": run.snapshots,
        "numbers": lambda: judge.plain(judge.report(run)),
        "sweep": lambda: json.dumps(sweep.report(run)),
        "cube": lambda: [sweep.cube(run, temperature) for temperature in (*sweep.held(run)[0][:1], 7.0)],
        "under way": lambda: (sweep.under_way(run), project.under_way(run), sweep.outdated(run)),
        "maps": lambda: project.maps(run),
        "shelf": lambda: shelf.read(run),
        "queue": lambda: (launch.jobs(one), launch.settle(one)),
        **({"table": lambda: table.lines(table.rows(one)), "share": lambda: share.share(run, into)} if into else {}),
    }


def judged(run: Run, into: Path | None, seconds: int = 20) -> tuple[str, str]:
    """held: all was read; said: something was refused in a sentence; wrong: and what was wrong."""
    verdict = "held", ""
    signal.signal(signal.SIGALRM, _stuck)
    for name, ask in questions(run, into).items():
        try:
            signal.alarm(seconds)
            try:
                ask()
            finally:
                signal.alarm(0)
        except (ValueError, FileNotFoundError, FileExistsError) as error:
            if type(error) not in (ValueError, runs.Broken, FileNotFoundError, FileExistsError) or not str(error):
                return "wrong", f"{name}: {type(error).__name__}: {error}"
            verdict = ("said", f"{name}: {error}") if verdict[0] == "held" else verdict
        except (Exception, Stuck) as error:
            return "wrong", f"{name}: {type(error).__name__}: {error}"
        finally:
            if into:
                shutil.rmtree(into, ignore_errors=True)
    if verdict[0] == "held" and run.problem():
        return "said", run.problem()
    return verdict
