"""Commands that are shown to be copied: each runs as it stands in a shell that knows of no variables. Standard library.

The folders that ANCHORSCOPE_RUNS and ANCHORSCOPE_DATA name are known to whoever shows a command, and not to the shell
that it is copied to; so the command names them, where they are not the usual ones.
"""

import os
import shlex
from pathlib import Path

NO_DATA = ("ensemble", "judge", "map", "queue", "runs", "share", "table", "work")  # commands that read no data set
NO_RUNS = ("data", "fetch", "import-images", "look")  # and that read no run


def command(*words: str | Path) -> str:
    """The line that runs a command of this project, its words quoted."""
    name, *rest = line = list(map(str, words))
    store, root = _unusual("ANCHORSCOPE_RUNS", "checkpoints"), _unusual("ANCHORSCOPE_DATA", "data")
    if name in ("score", "serve") and "--onnx" in rest:  # an exported file holds all that they need
        store = root = None
    of_store = "--runs" in rest or any(store == os.path.dirname(os.path.abspath(word)) for word in rest)
    if store and name not in NO_RUNS and not of_store:
        line += ["--runs", store]
    if root and name not in NO_DATA and "--data" not in rest:
        line += ["--data", root]
    return shlex.join(["python", "-m", "cac_core", *line])


def _unusual(variable: str, usual: str) -> str | None:
    folder = os.path.abspath(os.path.expanduser(os.environ.get(variable) or usual))
    return folder if folder != os.path.abspath(usual) else None
