"""The command line.

python -m cac_core train --dataset digits --trial 0 --method cac --backbone small --epochs 20 --seed 0
python -m cac_core probe --dataset CIFAR10 --backbone plain
python -m cac_core eval RUN [--scorer gamma] [--centres means|anchors] [--theta X]
python -m cac_core predict RUN IMAGE...
python -m cac_core score RUN FOLDER|ZIP|PATTERN... --threshold threshold.json --out verdicts.parquet
python -m cac_core sweep RUN [--temperatures 1 10 1000] [--magnitudes 0 0.0014]
python -m cac_core map RUN [--neighbours 15] [--min-dist 0.1] [--seed 0]
python -m cac_core queue [--stop JOB | --resume JOB | --remove JOB | --priority JOB N]
python -m cac_core work
python -m cac_core runs
python -m cac_core table
python -m cac_core share RUN DIR
python -m cac_core data
python -m cac_core fetch MNIST
python -m cac_core look NAME
python -m cac_core import-images ZIP NAME [--write] [--names gb18030]
python -m cac_core import-weights FILE... [--dataset CIFAR10 --trial 0]

Every command takes --runs DIR, --data DIR and --json. Nothing heavy is imported before it is needed.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import Any

from cac_core.commands import data, exchange, jobs, results, serving, terminal, training
from cac_core.sentences import say

UNREAD = 128 + 13  # as a shell tells of a program that SIGPIPE has ended


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    try:
        if hasattr(arguments, "sources"):
            arguments.sources, rest = arguments.sources + _plain(rest), _named(rest)
        options = _options(rest) if arguments.options else {}
        if rest and not arguments.options:
            parser.error(f"{arguments.command} does not take {' '.join(rest)}")
        result, lines, *failed = arguments.function(arguments, options)
        if arguments.json and result is not None:
            terminal.tell(terminal.as_json(result))
        elif lines:
            terminal.tell(terminal.printable("\n".join(lines)))
    except (ValueError, OSError, RuntimeError) as error:
        message = _said(error)
        _tell_error(arguments, message)
        terminal.aside(terminal.printable(f"error: {message}", sys.stderr))
        return 1
    except terminal.Unread:
        return UNREAD
    except Exception as error:  # of Anchorscope itself: where it came from is of use, too
        _tell_error(arguments, f"{type(error).__name__}: {error}")
        raise
    return int(any(failed))


def _tell_error(arguments: argparse.Namespace, message: str) -> None:
    """For a program that reads the one JSON object."""
    if arguments.json:
        with contextlib.suppress(OSError, terminal.Unread):
            terminal.tell(terminal.as_json({"error": message}))


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--runs", metavar="DIR", help="where runs are kept (ANCHORSCOPE_RUNS, or checkpoints/)")
    common.add_argument("--data", metavar="DIR", help="where data sets are (ANCHORSCOPE_DATA, or data/)")
    common.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser = argparse.ArgumentParser(
        prog="python -m cac_core",
        description="Open-set recognition with class anchors: train, evaluate, judge an image.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str,
        help: str,
        function: Callable,
        *parents: argparse.ArgumentParser,
        options: bool = False,
        **more: Any,
    ) -> argparse.ArgumentParser:
        """Declare a command; options: it takes further --name value, which it checks itself.

        function gives what --json prints and the lines that stand in its place, and where a part of the work failed
        and the rest was done a third value, true.
        """
        made = commands.add_parser(
            name, help=help, description=help, parents=[common, *parents], allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter, **more,
        )  # fmt: skip
        made.set_defaults(function=function, options=options)
        return made

    for room in (training, results, serving, jobs, data, exchange):
        room.add(command)
    return parser


def _plain(rest: list[str]) -> list[str]:
    """Words that argparse has left over after an option, where a command takes any number of them."""
    return [word for n, word in enumerate(rest) if not word.startswith("--") and not _takes(rest[n - 1 : n])]


def _named(rest: list[str]) -> list[str]:
    return [word for n, word in enumerate(rest) if word.startswith("--") or _takes(rest[n - 1 : n])]


def _takes(before: list[str]) -> bool:
    """Whether the word after this one is its value."""
    return bool(before) and before[0].startswith("--") and "=" not in before[0]


def _options(rest: list[str]) -> dict[str, str]:
    """--name value pairs that no command knows by itself: options of a method, a backbone or a scorer."""
    options = {}
    while rest:
        name, rest = rest[0], rest[1:]
        if not name.startswith("--") or len(name) < 3:
            raise ValueError(say("{name!r} was not expected here. An option is written --name value.", name=name))
        name, equals, value = name[2:].partition("=")
        if not equals:
            if not rest:
                raise ValueError(say("--{name} needs a value.", name=name))
            value, rest = rest[0], rest[1:]
        options[name.replace("-", "_")] = value
    return options


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return say(
            "{error}: {file}. Is there a disk that can be written, and space on it?",
            error=error.strerror, file=error.filename,
        )  # fmt: skip
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
