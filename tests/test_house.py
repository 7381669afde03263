"""The house rules that can be checked: which way imports point, and what may be imported where."""

import ast
import re
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A room may import rooms of lower floors only, and itself; a name means all that is below it, the longest that fits.
FLOORS = {
    "cac_core.sentences": 0,
    "cac_core.files": 1,
    "cac_core.shell": 0,
    "cac_core.recipe": 1,
    "cac_core.records": 1,
    "cac_core.data": 2,
    "cac_core.networks": 2,
    "cac_core.scoring": 2,
    "cac_core.runs": 3,
    "cac_core.results": 4,
    "cac_core.jobs": 4,
    "cac_core.training": 5,
    "cac_core.exchange": 6,
    "cac_core.serving": 7,
    "cac_core.commands": 8,
    "cac_core.__main__": 9,
    "app": 8,
    "app.pages": 9,
    "streamlit_app": 10,
}
ALLOWED = {  # outside these modules, nowhere
    "streamlit": ("app", "streamlit_app"),
    "subprocess": ("cac_core.jobs",),
    "multiprocessing": ("cac_core.jobs", "cac_core.serving"),
    "ray": ("cac_core.jobs",),
    "umap": ("cac_core.results.project",),
    "sklearn": ("cac_core.results.project",),
    "torch": (
        "cac_core.networks",
        "cac_core.results.ensemble",
        "cac_core.results.evaluate",
        "cac_core.results.formulas",
        "cac_core.results.frozen",
        "cac_core.results.sweep",
        "cac_core.training",
        "cac_core.exchange.import_network",
        "cac_core.exchange.import_weights",
        "cac_core.serving.to_onnx",
    ),
    "onnx": ("cac_core.networks.foreign", "cac_core.serving.to_onnx"),
    "onnxruntime": ("cac_core.networks.foreign", "cac_core.serving.deciders"),
    "onnxscript": ("cac_core.serving.to_onnx",),
    "starlette": ("cac_core.serving.service", "streamlit_app"),
    "uvicorn": ("cac_core.serving.service",),
    "torchvision": (
        "cac_core.networks.backbones",
        "cac_core.networks.foreign",
        "cac_core.data.sources",
        "cac_core.training.augment",
    ),
    "efficientnet_pytorch": ("cac_core.networks.backbones",),
    "timm": ("cac_core.networks.foreign", "cac_core.networks.lite"),
}
INSIDE_FUNCTIONS = {  # and there only inside a function, because loading them takes seconds
    "onnx": ("cac_core",),
    "onnxruntime": ("cac_core",),
    "pyarrow": ("cac_core",),
    "torchvision": ("cac_core",),
    "efficientnet_pytorch": ("cac_core",),
    "timm": ("cac_core",),
    "umap": ("cac_core",),
    "sklearn": ("cac_core",),
}
INSTALLED_AS = {"PIL": "pillow", "sklearn": "scikit-learn", "umap": "umap-learn", "yaml": "pyyaml"}


def module_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted([*ROOT.glob("cac_core/**/*.py"), *ROOT.glob("app/**/*.py"), *ROOT.glob("streamlit_app.py")])
MODULES = {module_of(file): file for file in FILES}


def imports_of(source, module, is_package=False):
    """(name, inside a function) for each import; of `from a import b`, a.b where that is a module of ours, else a."""
    found = []

    def walk(node, inside):
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.Import):
            found.extend((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")[: -node.level + is_package or None]
                base = ".".join([*up, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.append((inner if inner in MODULES else base, inside))
        for child in ast.iter_child_nodes(node):
            walk(child, inside)

    walk(ast.parse(source), False)
    return found


def imports_in(module):
    file = MODULES[module]
    return imports_of(file.read_text("utf-8"), module, file.name == "__init__.py")


def floor(module):
    return FLOORS.get(room(module))


def room(module):
    """The room of a module: the longest name in FLOORS that it is, or lies below."""
    return max((name for name in FLOORS if within(module, (name,))), key=len, default=None)


def within(module, places):
    return any(module == place or module.startswith(f"{place}.") for place in places)


def test_the_reader_of_imports_reads_every_form():
    source = "import a.b, c\nfrom cac_core import recipe, __doc__\ndef f():\n    from . import images\n    import torch"
    assert imports_of(source, "cac_core.data.sources") == [
        ("a.b", False), ("c", False), ("cac_core.recipe", False), ("cac_core", False), ("cac_core.data.images", True),
        ("torch", True),
    ]  # fmt: skip


def test_there_are_modules_to_check():
    assert {"cac_core.recipe", "cac_core.data.datasets", "cac_core.networks.methods.cac"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_only(module):
    assert room(module) or not imports_in(module), f"{module} has no room: give it one in FLOORS"
    ours = {name for name, _ in imports_in(module) if within(name, ("cac_core", "app", "streamlit_app"))}
    beside = [name for name in ours if room(name) != room(module)]
    wrong = [name for name in beside if floor(name) is None or floor(name) >= floor(module)]
    assert not wrong, f"{module} imports {wrong}, which is not below it"


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: {name for name, _ in imports_in(module) if name in MODULES} for module in MODULES}
    assert tuple(TopologicalSorter(graph).static_order())  # CycleError names the modules of a cycle


@pytest.mark.parametrize("module", MODULES)
def test_what_is_heavy_is_imported_only_where_it_belongs(module):
    for name, inside in imports_in(module):
        top = name.split(".")[0]
        assert within(module, ALLOWED.get(top, (module,))), f"{module} imports {name}"
        if not inside:
            assert not within(module, INSIDE_FUNCTIONS.get(top, ())), f"{module} imports {name} outside a function"


def test_every_package_imported_is_in_the_requirements():
    listed = {
        re.split(r"[^\w.-]", line.strip())[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    }
    used = {name.split(".")[0] for module in MODULES for name, _ in imports_in(module)}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    optional = {re.split(r"[^\w.-]", line)[0] for lines in extras.values() for line in lines}
    foreign = used - set(sys.stdlib_module_names) - {"cac_core", "app", "streamlit_app"} - optional
    assert {"numpy", "PIL"} <= foreign
    assert {INSTALLED_AS.get(name, name).replace("_", "-") for name in foreign} <= listed


def test_no_file_names_a_place_of_one_machine():
    kinds = {".py", ".md", ".toml", ".txt", ".json", ".js", ".css", ".sh", ".yml", ".yaml", ""}
    folders = ["cac_core", "app", "tests", "benchmarks", ".ci", ".streamlit", "checkpoints"]
    files = [f for d in folders for f in (ROOT / d).rglob("*")] + list(ROOT.glob("*"))
    own = {"events.jsonl", "log.txt", ".queue", ".trash"}  # what this machine's runs and jobs have written
    texts = [f for f in files if f.is_file() and f.suffix in kinds and not own & set(f.parts)]
    places = [f"/{'work'}/", f"/{'tmp'}/w/", f"..{'/'}shared"]  # in pieces, so that this file is not found
    found = [f"{f.relative_to(ROOT)}: {p}" for f in texts for p in places if p in f.read_text("utf-8", "replace")]
    assert len(texts) > 10
    assert not found


def test_every_link_within_the_app_carries_the_run():
    made = {m for m in MODULES if within(m, ("app", "streamlit_app")) and
            re.search(r"\b(page_link|switch_page)\(", MODULES[m].read_text("utf-8"))}  # fmt: skip
    assert made == {"app.address"}


@pytest.mark.parametrize("module", MODULES)
def test_no_except_is_bare(module):
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None]


@pytest.mark.parametrize("module", [m for m in MODULES if MODULES[m].stat().st_size])
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(ast.parse(MODULES[module].read_text("utf-8")))
