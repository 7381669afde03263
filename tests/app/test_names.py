"""Short forms of class names stay distinct, in Python and in the browser; numbers that differ are told apart."""

import itertools
import json
import random
import shutil
import subprocess

import pytest

from app import charts, live
from app.names import short

LONG = [f"a long name of a kind of thing, number {n} of twenty" for n in range(1, 21)]
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SETS = [
    CIFAR, LONG, list("0123456789"), ["same start one", "same start two", "other"], ["twice", "twice", "twice"],
    ["", "x"],
    ["長い名前のクラスその一", "長い名前のクラスその二", "猫"], ["a…b", "a…b but longer", "abcdef", "abcdeg"],
    ["small red house", "small red horse", "small red", "small"],
]  # fmt: skip


@pytest.mark.parametrize("most", [3, 4, 5, 6, 8, 12, 18])
@pytest.mark.parametrize("names", SETS, ids=lambda names: (names[0] or "empty")[:12])
def test_short_forms_are_distinct_and_short(names, most):
    said = short(names, most)
    assert len(set(said)) == len(names) and all(len(form) <= max(most, 5) for form in said)
    if len({name[:most] for name in names}) == len(names):  # no need to tell any apart
        assert all(form == name for form, name in zip(said, names, strict=True) if len(name) <= most)


def test_what_is_read_at_a_glance_stays_readable():
    assert short(CIFAR, 4) == ["airp", "auto", "bird", "cat", "deer", "dog", "frog", "hors", "ship", "truc"]
    assert short(["deer", "dog"], 3) == ["dee", "dog"]
    assert short(["automobile", "dog"], 8) == ["automob…", "dog"]
    assert short(LONG[8:11], 8) == ["a…9 of", "a…10 of", "a…11 of"]
    assert short(["twice", "twice"], 5) == ["t…1", "t…2"]


def test_distinct_for_many_random_names():
    rng = random.Random(0)
    for _ in range(300):
        names = list(dict.fromkeys("".join(rng.choices("ab …", k=rng.randint(1, 9))) for _ in range(20)))
        said = short(names, rng.randint(3, 9))
        assert len(set(said)) == len(names)


def test_the_browser_has_the_same(tmp_path):
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not on the PATH")
    script = (live.HERE / "names.js").read_text("utf-8")
    ask = 'console.log(JSON.stringify(JSON.parse(require("fs").readFileSync(0)).map(([n, m]) => shortNames(n, m))))'
    (tmp_path / "names.js").write_text(f"{script}\n{ask}", "utf-8")
    asked = list(itertools.product(SETS, (3, 4, 5, 8, 18)))
    done = subprocess.run([node, tmp_path / "names.js"], input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [short(names, most) for names, most in asked]


@pytest.mark.parametrize(
    ("values", "said"),
    [((1.0, 2.0), ["1.00", "2.00"]), ((1.23412, 1.23434), ["1.2341", "1.2343"]), ((0.0051, 0.0051), ["0.00510"] * 2),
     ((2.0, 2.0 + 1e-8), ["2.00000000", "2.00000001"]), ((0.0, 1e-9), ["0", "1.00e-09"])],
)  # fmt: skip
def test_numbers_that_differ_read_differently(values, said):
    assert charts.apart(*values) == said
