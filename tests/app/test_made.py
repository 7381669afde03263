"""What a method made up, in Logit space: offered where there is something, and said in words beside the pictures."""

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from cac_core import runs
from tests.app.test_results_pages import app, fine, text  # noqa: F401

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SPACE = "app/pages/space.py"
TITLE = "What was made for the class of unknowns"
DOUBT = (
    "The generator has collapsed: the images that it rebuilds differ from each other by 3% of what real ones do, and "
    "what is made with it is much the same image. Train for more epochs, or with another seed."
)


@pytest.fixture
def make_made(make_run):
    """make_made(method, ways): a run with what it made up, of four known digits."""

    def make(method: str = "osrci", ways: int = 5, channels: int = 1) -> runs.Run:
        run = make_run(f"made-{method.replace('_', '-')}-{ways}", method=method)
        before, after = np.zeros((3, ways, 5), np.float32), np.zeros((3, ways, 5), np.float32)
        before[:2, :, 2], before[2, :, 4], after[:, :, 4] = 0.875, 0.75, 1.0
        pixels = np.arange(3 * ways * 256 * channels) % 251
        runs.write_npz(
            run.path / "made.npz", made=np.full((7, 16, 16, channels), 9, np.uint8),
            begun=np.array([0, 1, 2, 3, 0, 1, 2]) if ways else np.full(7, -1),
            way=pixels.reshape(3, ways, 16, 16, channels).astype(np.uint8), classes=np.arange(ways) % 4,
            steps=np.array([-1, 0, 50]), before=before, after=after,
        )  # fmt: skip
        return run

    return make


def opened(at: AppTest) -> AppTest:
    assert TITLE in [part.value for part in at.subheader]
    return at


def ways(at: AppTest) -> list:
    """The pictures of the way that is shown."""
    return [one for part in at.get("image") for one in part.proto.imgs if "Before" in one.alt]


def test_the_way_of_an_image_is_shown_with_both_classifiers_words(app, make_made):  # noqa: F811
    run = make_made()
    at = opened(app(SPACE, run=run.id))
    said = text(at)
    assert "whether it got there or not" in said
    assert "**real image**" in said and "**rebuilt**" in said and "**step 50**" in said
    assert said.count("before: 2, 87.5\u00a0%") == 2 and said.count("before: unknown, 75.0") == 1
    assert said.count("now: unknown, 100") == 3
    assert "7 of the 7 images that were learnt as unknown" in said
    pictures = ways(at)
    assert len(pictures) == 3 and pictures[0].alt.startswith("real image. Before: 2, 87.5\u00a0%. Now: unknown, 100")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[1].url.split(",")[1]))))
    assert np.array_equal(shown[::8, ::8], run.made()["way"][1, 0, :, :, 0])
    assert "(#made)" in said  # a way down to it
    at = app(SPACE, run=run.id, made_way="4")  # the second that begins at 0, by its place
    assert next(one.options for one in at.get("button_group") if one.key == "made_way")[4] == "0 (2)"
    shown = ways(fine(at.run()))[1]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.url.split(",")[1]))))
    assert np.array_equal(shown[::8, ::8], run.made()["way"][1, 4, :, :, 0])


@pytest.mark.parametrize(
    ("method", "ways", "said"),
    [
        ("g_openmax", 5, ["Two real images of different classes are mixed", "**50\u00a0% of another**"]),
        ("osrci", 0, ["This run is a control: noise was learnt"]),
    ],
)
def test_mixtures_and_noise_are_called_so(app, make_made, method, ways, said):  # noqa: F811
    shown = text(opened(app(SPACE, run=make_made(method, ways).id)))
    assert all(words in shown for words in said) and ("real image**" in shown) == bool(ways)


def test_a_choice_that_a_run_has_not_is_refused(app, make_made):  # noqa: F811
    at = app(SPACE, run=make_made().id, made_way="7")
    assert at.session_state.made_way == 0 and "made_way=7" in text(at)


def test_a_mixture_says_of_what_and_whether_it_would_be_learnt(app, make_made):  # noqa: F811
    run = make_made("g_openmax")
    arrays = dict(np.load(run.path / "made.npz"))
    arrays["before"][:] = 0
    arrays["before"][0, :, 0], arrays["before"][1, :, :3], arrays["before"][2, :, 3] = 0.9, 0.3, 0.9
    runs.write_npz(run.path / "made.npz", **arrays)
    said = text(app(SPACE, run=run.id))
    assert "**50\u00a0% of another, of 3**" in said and said.count("unsure enough to be learnt") == 1


def test_ways_lead_to_what_was_made(app, make_made):  # noqa: F811
    def ways(page: str, **said: str) -> list[str]:
        at = app(page, **said)
        if page.endswith("lessons.py"):
            at.session_state["answers"], at.session_state["told"] = {7: 0}, {7}
            at = fine(at.run())
        return [one.proto.label for one in at.get("page_link")]

    lesson, new = ("app/pages/lessons.py", {"card": "7"}), ("app/pages/new.py", {"new_methods": "osrci"})
    assert any("Train OSRCI" in one for one in ways(lesson[0], **lesson[1]))
    assert not any("made up" in one for one in ways(new[0], **new[1]))
    run = make_made()
    for page, said in (lesson, new, ("app/pages/live.py", {"run": run.id, "watched": run.id})):
        assert "See the images that OSRCI made up" in ways(page, **said), page


@pytest.mark.parametrize("how", ["none", "torn", "colour"])
def test_a_run_without_or_with_a_damaged_file_offers_nothing(app, make_made, how):  # noqa: F811
    run = make_made(channels=3 if how == "colour" else 1)
    if how == "none":
        (run.path / "made.npz").unlink()
    elif how == "torn":
        (run.path / "made.npz").write_bytes(b"PK torn")
    at = app(SPACE, run=run.id)
    assert TITLE not in [part.value for part in at.subheader]
    assert "(#made)" not in text(at)
    (run.path / "recipe.json").write_text("{")  # nor does a run that cannot be read
    assert not any(
        "made up" in one.proto.label for one in app("app/pages/new.py", new_methods="osrci").get("page_link")
    )


def test_what_training_doubted_is_said_on_home_live_and_beside_the_pictures_once(app, make_made):  # noqa: F811
    run = make_made()
    for _ in range(2):  # as after a kill between the stages
        runs.append(run.path / "events.jsonl", {"kind": "warning", "text": DOUBT})
    for page in ("app/pages/home.py", "app/pages/live.py", SPACE):
        at = app(page, run=run.id)
        assert [one.value.replace("\\", "") for one in at.warning] == [DOUBT], page


def test_a_sweep_of_a_method_whose_score_is_not_swept_opens_with_softmax(app, store):  # noqa: F811
    run = store / "swept"
    shutil.copytree(ROOT / "checkpoints" / "cifar10-osrci-0-cross-entropy-plain-s0-cc5d80ee", run)
    record = json.loads((run / "recipe.json").read_text())
    record["recipe"] |= {"method": "vos"}  # which is judged by energy
    runs.write_json(run / "recipe.json", record)
    at = app("app/pages/sweep.py", run="swept")
    assert not at.error
    assert [one.value for one in at.get("button_group") if one.key == "sweep_score"] == ["msp"]
