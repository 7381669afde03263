"""The catalogues: each holds every phrase of the app and no other, with the same values and marks in it; every page is
painted in every language, and says nothing in English that a catalogue could have said."""

import io
import json
import re
import shutil
import string
import zipfile

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import holdings, uploads, words
from cac_core import runs
from cac_core.data import datasets
from cac_core.jobs import launch, worker
from cac_core.sentences import filled_in, recognised
from tests.phrases import ROOT, every, of
from tests.waiting import LONG

pytestmark = pytest.mark.long

LANGUAGES = [name for name in words.languages() if name != words.ENGLISH]
PAGES = ["home", "lessons", "anchors", "space", "thresholds", "images", "sweep", "try", "data", "new", "live", "runs",
         "compare", "reproduce"]  # fmt: skip


def marks(phrase: str) -> dict[str, int]:
    """What a translation must keep: the names of values, Markdown, icons, code."""
    found = [f"{{{name}}}" for _, name, _, _ in string.Formatter().parse(phrase) if name]
    found += re.findall(r"\*\*|\n\n|\n- |\n    [^\n]*|`[^`]*`|:material/\w+:|\]\([^)]*\)|\$[^$]+\$", phrase)
    return {mark: found.count(mark) for mark in set(found)}


def test_there_are_catalogues_in_the_languages_that_are_promised():
    assert {"zh", "ja", "ko"} == set(LANGUAGES) == set(words.NAMES) - {words.ENGLISH}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_every_phrase_and_no_other(language):
    catalogue, wanted = words.catalogue(language), every()
    assert sorted(wanted - catalogue.keys()) == []
    assert sorted(catalogue.keys() - wanted) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_values_and_marks(language):
    wrong = {
        phrase: (marks(phrase), marks(said))
        for phrase, said in words.catalogue(language).items()
        if marks(phrase) != marks(said) or (not said.strip() and phrase.strip())
    }
    assert wrong == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_is_one(language):
    """Few phrases read the same in two languages: names of methods, formulas."""
    same = [p for p, said in words.catalogue(language).items() if p == said and re.search(r"[a-z]{3,} [a-z]{3,}", p)]
    assert same == []


def test_the_check_of_marks_finds_what_it_is_for():
    assert marks("**{n}** of `x`") != marks("{n} of `x`") and marks("{a} {b}") == marks("{b}{a}")
    assert marks("Use `--data`") != marks("`--date`")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_painted_in_every_language(language, page, monkeypatch, tmp_path):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(ROOT / "checkpoints"))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path))
    missing, known = [], words.catalogue(language)
    monkeypatch.setattr(words, "catalogue", lambda _: Heard(known, missing))
    at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=LONG)
    at.query_params["lang"] = language
    at.run()
    if page != "home":
        at.switch_page(f"app/pages/{page}.py").run()
    assert not at.exception, [e.value for e in at.exception]
    assert at.sidebar.selectbox(key="lang").value == language
    english = {name for name in missing if not name_of_something(name)}
    assert english == set()
    assert any(title.value == known[title_of(page)] for title in at.title)


class Heard(dict):
    """A catalogue that remembers what it was asked for in vain."""

    def __init__(self, held, missing):
        super().__init__(held)
        self.missing = missing

    def get(self, phrase, default=None):
        if phrase not in self:
            self.missing.append(phrase)
        return super().get(phrase, default)


def name_of_something(phrase: str) -> bool:
    """Names of terms and classes, which pages hand to t because others of their kind are translated."""
    return bool(re.fullmatch(r"[\w+-]+", phrase)) and phrase == phrase.lower() and phrase not in every()


def title_of(page: str) -> str:
    source = (ROOT / "streamlit_app.py").read_text("utf-8")
    address = "" if page == "home" else page
    return re.search(rf'"{address}": Place\(t\("[^"]+"\), "\w+", t\("([^"]+)"\)', source)[1]


def test_the_language_is_the_one_asked_for_then_the_browsers(monkeypatch):
    class Page:
        session_state, query_params, context = {}, {}, type("Context", (), {"locale": "ko-KR"})

    monkeypatch.setattr(words, "st", Page)
    assert words.language() == "ko"
    Page.query_params = {"lang": "zh-Hans"}
    assert words.language() == "zh"
    Page.session_state = {"lang": "ja"}
    assert words.language() == "ja"
    Page.session_state, Page.query_params, Page.context.locale = {}, {"lang": "<b>"}, "fr"
    assert words.language() == "en"


def test_the_catalogues_are_plain_files():
    for language in LANGUAGES:
        text = (words.HERE / f"{language}.json").read_text("utf-8")
        held = json.loads(text)
        assert list(held) == sorted(held) and all(isinstance(said, str) for said in held.values())


# --- what goes wrong -------------------------------------------------------------------------------------------------

KINDS = ("title", "header", "subheader", "markdown", "caption", "text", "info", "warning", "error", "success")


def english(at: AppTest) -> list[str]:
    """Four English words in a row among what the page says; names of files, and code, are not said. A catalogue may
    leave names in English, such as those of data sets."""
    texts = [str(part.value) for kind in KINDS for part in at.get(kind)] + [part.label for part in at.get("expander")]
    texts += [str(cell) for table in at.dataframe for cell in table.value.to_numpy().ravel()]
    plain = [re.sub(r"`[^`]*`|\S*[/_.]\S*", " - ", text.replace("\\", "")) for text in texts]
    heard = [found for text in plain for found in re.findall(r"[A-Za-z]+(?: [a-z]+){3,}", text)]
    names = " ".join(said for language in LANGUAGES for said in words.catalogue(language).values())
    return [found for found in heard if found not in names]


def test_the_ear_for_english_hears_it():
    class Page:
        dataframe = ()

        def get(self, kind):
            said = {
                "error": "文件 /a b/c d 已损坏（it is damaged and cut）",
                "caption": "a/b c/d e/f: `say it in code now`",
            }
            return [type("Part", (), {"value": said[kind]})] if kind in said else []

    assert english(Page()) == ["it is damaged and cut"]


@pytest.fixture
def wrong(make_run, store, tmp_path, monkeypatch):
    """A store and a data root with a run for each thing that goes wrong, jobs that failed, and image folders that are
    none: opens a page on one of the runs."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)
    for name in ("shown", "torn", "newer", "elsewhere", "absent", "failed", "lost", "unwritten"):
        run = make_run(name)
        record, outputs = run.record, run.path / "outputs"
        if name == "torn":
            (run.path / "recipe.json").write_text("[]")
        elif name == "newer":
            runs.write_json(run.path / "recipe.json", record | {"recipe": record["recipe"] | {"colour": 1}})
        elif name in ("elsewhere", "absent"):
            dataset = {"elsewhere": "shoes", "absent": "MNIST"}[name]
            runs.write_json(run.path / "recipe.json", record | {"recipe": record["recipe"] | {"dataset": dataset}})
        elif name != "shown":
            shutil.rmtree(outputs)
        if name == "failed":
            said = "Out of memory: 12 GB. Try a smaller batch (--batch 16)."
            runs.write_json(run.path / "status.json", {"state": "failed", "reason": said})
        elif name == "lost":
            (run.path / "status.json").unlink()
    for kind, arguments, said in (
        ("fetch", ["fetch", "MNIST"], datasets.here("MNIST", tmp_path / "data")[1]),
        ("train", ["train"], "The images of digits have changed since failed began, so it cannot go on. Then: images "
         "of digest 0; now: images of digest 1. Put the old images back, or train it anew on the new ones, which puts "
         "the old run into the trash:\n    python -m cac_core train --resume failed --again"),
    ):  # fmt: skip
        job = launch.submit(store, kind, arguments, run="failed" if kind == "train" else "")
        runs.write_json(job.path, json.loads(job.path.read_text("utf-8")) | {"state": "failed", "reason": said})
    (store / ".queue" / "000009-abcdef.json").write_text("{}")
    for folder in ("halved/train/cat", "empty/cat", "odd/cat"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "data/halved/train/cat/a.png")
    Image.new("L", (8, 8)).save(tmp_path / "data/odd/cat/a.png")
    (tmp_path / "data/odd/dataset.json").write_text('{"size": 4, "colour": 1}')
    holdings.look_again()

    def opened(language: str, run: str, page: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=60)
        monkeypatch.setattr(words, "language", lambda: language)  # here, too, where AppTest looks for what is chosen
        at.query_params["run"] = run
        at.run()
        for name, value in query.items():
            at.query_params[name] = value
        at = at.switch_page(f"app/pages/{page}.py").run() if page != "home" else at
        assert not at.exception, [e.value for e in at.exception]
        return at

    return opened


OF_A_RUN = ("home", "space", "thresholds", "images", "sweep", "try")


@pytest.mark.parametrize("run", ["torn", "newer", "elsewhere", "absent", "failed", "lost", "unwritten"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_that_cannot_be_shown_is_explained_in_the_readers_language(language, run, wrong):
    for page in OF_A_RUN:
        at = wrong(language, run, page)
        assert at.error or at.warning or at.info or run in ("elsewhere", "absent"), page
        assert english(at) == [], page


@pytest.mark.parametrize("page", ["data", "new", "live", "runs", "compare", "reproduce"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_failed_is_told_in_the_readers_language(language, page, wrong):
    at = wrong(language, "unwritten", page)
    assert english(at) == []
    if page == "live":
        for name in ("failed", "lost"):
            assert english(at.selectbox(key="watched").set_value(name).run()) == []
    if page == "data":
        assert english(wrong(language, "unwritten", "data", data_view="trial", trial_dataset="odd")) == []


def test_each_sentence_of_the_core_is_recognised_among_all_phrases():
    """What a file or another process gives back is English text alone."""
    phrases = {phrase for file in (ROOT / "cac_core").rglob("*.py") for phrase in of(file.read_text("utf-8"))}
    known = every()
    for phrase in phrases:
        names = {name: f"/some/{name}" for _, name, _, _ in string.Formatter().parse(phrase) if name}
        found = recognised(filled_in(phrase, names), known)
        own, its = (re.sub(r"\{.*?\}", "", one) for one in (phrase, getattr(found, "phrase", "")))
        assert own == its or len(re.findall("[a-z]+", own)) < 2, phrase


def zipped(**files: bytes) -> bytes:
    """A zip of these files; two underscores in a name stand for a slash."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as into:
        for name, content in files.items():
            into.writestr(name.replace("__", "/"), content)
    return packed.getvalue()


PACKED = zipped(cat__a=b"")
BAD_ZIPS = {
    "none": b"no zip", "cut": PACKED[:-30], "inner": PACKED.replace(b"cat/a", b"c/.gz"),
    "out": PACKED.replace(b"cat/a", b"../aa"), "no image": zipped(cat__a=b"x"),
    "three": zipped(**{"train__cat__a.png": b"", "val__cat__a.png": b"", "test__cat__a.png": b""}),
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_cannot_be_uploaded_is_explained_in_the_readers_language(language, wrong, monkeypatch):
    monkeypatch.setattr(uploads, "_network", lambda path, written: None)  # nothing comes to be judged
    for content in (b"no image", b""):
        at = wrong(language, "shown", "try")
        at.file_uploader(key="files").set_value([("a.png", content, "image/png")])
        at = at.run()
        assert len(at.error) == 1 and english(at) == []

    at = wrong(language, "shown", "data", data_view="own")
    for name, content in BAD_ZIPS.items():
        at = at.file_uploader(key="own_zip").set_value([(f"{name}.zip", content, "application/zip")]).run()
        assert at.error and english(at) == [], name

    at = wrong(language, "shown", "data", data_view="trial")
    for content in (b"[]", b'{"Known": ["0", "cat"]}', b'{"Known": [0]}', b'{"Known": [0, 1], "Unknown": [1]}'):
        at = at.file_uploader(key="trial_file").set_value([("t.json", content, "application/json")]).run()
        assert at.error and english(at) == [], content

    for content in (zipped(run__recipe=b""), zipped(), zipped(one__recipe=b"{}").replace(b"recipe", b"r.json")):
        at = wrong(language, "shown", "runs")
        at.file_uploader(key="runs_zip_0").set_value([("runs.zip", content, "application/zip")])
        at = at.run()
        assert at.error and english(at) == []
