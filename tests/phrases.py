"""Every phrase that the app can show, read out of its source: what a catalogue in app/words translates.

python -m tests.phrases LANGUAGE prints, as JSON, the English phrases that this language's catalogue lacks.
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from app import live, teach, words
from cac_core.data import images, sources
from cac_core.jobs import queue
from cac_core.results import compare, judge, project, reproduce, sweep

ROOT = Path(__file__).parents[1]
STATES = ("queued", "starting", "running", "stopping", "finished", "failed", "stopped", "lost", "broken", "removed",
          "unreachable")  # fmt: skip
CURVES = ("train", "validation", "accuracy")
# what tables of the core hold and a page shows by t; what the core says by say is read out of its source
CORE = (
    *STATES, *CURVES, *queue.KINDS, *project.STAGES, "perturbing",
    *judge.IMAGES.values(), judge.MOVED, judge.KEEPS, judge.TOO_FEW, judge.NEVER, judge.TRAINED_ON, judge.CHOSEN,
    *compare.BETTER.values(), *compare.ALIKE.values(), *compare.SAME.values(), *compare.UNPAIRED,
    *compare.SPLIT, compare.OTHER_FIELD, compare.OTHER_TRIALS, compare.TOO_FEW, compare.ONE_PAIR,
    *(text for pair in sources.ABOUT.values() for text in pair), sweep.LEAK,
    *(note for _, note in images.DRAWN.values()), *images.NOTES.values(),
    *(entry[name] for entry in (*reproduce.published()[0], reproduce.TUTORIAL) for name in ("source", "note")
      if name in entry),
    reproduce.TRIALS_BOTH, reproduce.TRIALS_OURS, reproduce.SEEDS_OURS, reproduce.IMAGES,
)  # fmt: skip


def every() -> set[str]:
    files = [ROOT / "streamlit_app.py", *sorted((ROOT / "app").rglob("*.py"))]
    core = (phrase for file in sorted((ROOT / "cac_core").rglob("*.py")) for phrase in of(file.read_text("utf-8")))
    app = (phrase for file in files for phrase in of(file.read_text("utf-8")))
    return {*CORE, *core, *live.WORDS, *teach.WORDS, *app}


def of(source: str) -> Iterator[str]:
    """The phrases in t(...), say(...) and phrases(...) of a file; the keys of a table are names, not phrases."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and call.args:
            name = getattr(call.func, "id", "")
            if name in ("t", "say") and isinstance(call.args[0], ast.Constant):
                yield call.args[0].value
            elif name == "phrases":
                yield from _texts(call.args[0])


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Dict):
        for value in node.values:
            yield from _texts(value)
    elif isinstance(node, ast.Tuple | ast.List):
        for value in node.elts:
            yield from _texts(value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


if __name__ == "__main__":
    catalogue = words.catalogue(sys.argv[1])
    print(json.dumps({phrase: "" for phrase in sorted(every() - catalogue.keys())}, ensure_ascii=False, indent=1))
