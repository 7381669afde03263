"""Results, as people use them: select two runs, compare them, take the report along; delete a run and bring it back."""

import json
import re
import shutil
import zipfile

import pytest

from app import results
from cac_core import runs
from cac_core.results import compare
from tests.waiting import at_rest, downloaded
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pair(trained):
    """The trained run, and a twin of another method, which is judged by another score and so decides differently."""
    _, run = trained
    other = runs.Run(run.path.parent / "results-twin")
    shutil.copytree(run.path, other.path)
    record = json.loads((other.path / "recipe.json").read_text("utf-8"))
    record["recipe"] |= {"seed": 7, "method": "cross_entropy"}
    runs.write_json(other.path / "recipe.json", record)
    yield run, other
    shutil.rmtree(other.path, ignore_errors=True)


def tick(page, *rows: int):
    """The checkboxes of rows of the table, none of which is selected; it is a canvas."""
    canvas = page.locator("[data-testid=stDataFrame] canvas").first
    until(page, lambda: canvas.evaluate(DRAWN), "the table is not drawn")
    for count, row in enumerate(rows, 1):
        at_rest(page)
        box = canvas.bounding_box()
        page.mouse.click(box["x"] + 16, box["y"] + 35 * (row + 1) + 17)
        page.get_by_text(re.compile(rf"^\d+ runs, {count} selected")).wait_for()


# whether a canvas has dark pixels: letters
DRAWN = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value, n) => n % 4 === 0 && value < 128 && data[n + 3] > 200);
}"""


def test_two_runs_are_selected_compared_and_reported(page, server, pair, tmp_path):
    page.goto(f"{server}/runs")
    page.get_by_text("2 runs, 0 selected").wait_for()
    tick(page, 0, 1)
    page.get_by_text("2 runs, 2 selected").wait_for()
    page.get_by_role("link", name="Compare 2 runs").click()
    page.get_by_role("heading", name="Differences").wait_for()
    until(page, lambda: all(run.id in page.url for run in pair))
    members = [
        compare.Member(name, (compare.scored(run),)) for name, (run,) in compare.grouped(list(pair), False).items()
    ]
    phrases = [results.sentence(d) for d in compare.differences(*members)]
    for phrase in phrases:
        page.get_by_text(phrase, exact=True).wait_for()
    page.get_by_role("img", name=re.compile("^ROC curves")).wait_for()
    report = tmp_path / "report.html"
    shutil.copy(downloaded(page, page.get_by_role("button", name="Report (HTML)")), report)
    said = report.read_text("utf-8")
    assert all(f": {run.id}</h3>" in said for run in pair)
    page.goto("about:blank")  # the app asks for nothing any more
    asked = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())  # without a server
    page.locator(".plotly-graph-div .trace").first.wait_for(state="attached")
    assert page.locator(".plotly-graph-div").count() == 2
    assert page.locator("li").all_inner_texts() == phrases
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []


def test_a_link_compares_and_its_tables_are_exported(page, server, pair):
    page.goto(f"{server}/compare?ids={','.join(run.id for run in pair)}")
    page.get_by_role("heading", name="Differences").wait_for()
    for name, head in (("CSV", "data set,family,trials,member"), ("LaTeX table", "% digits, osrci")):
        assert downloaded(page, page.get_by_role("button", name=name, exact=True)).read_text("utf-8").startswith(head)


@pytest.mark.parametrize("kind, drawn, begins", [("PNG", "canvas", b"\x89PNG"), ("SVG", "svg", b"<svg")])
def test_a_picture_is_saved(page, server, pair, kind, drawn, begins):
    page.goto(f"{server}/compare?ids={','.join(run.id for run in pair)}")
    page.get_by_role("img", name=re.compile("^ROC curves")).wait_for()
    at_rest(page)
    page.get_by_role("radio", name=kind).click()
    chart = page.locator("[data-testid=stEChartsChart]").first
    chart.locator(drawn).first.wait_for()
    chart.scroll_into_view_if_needed()
    left_below = {"x": 24, "y": chart.bounding_box()["height"] - 25}
    assert downloaded(page, chart, position=left_below).read_bytes().startswith(begins)


def test_a_deleted_run_comes_back(page, server, pair):
    _, other = pair
    page.goto(f"{server}/runs")
    page.get_by_text("2 runs, 0 selected").wait_for()
    tick(page, 1)
    page.get_by_role("button", name="Delete 1").click()
    page.get_by_text("Deleted: results-twin").wait_for()
    assert not other.path.exists()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("results-twin is back").wait_for()
    assert other.written


def test_runs_go_out_as_a_zip_and_come_in_again(page, server, pair):
    page.goto(f"{server}/runs")
    page.get_by_text("2 runs, 0 selected").wait_for()
    tick(page, 0, 1)
    file = downloaded(page, page.get_by_role("button", name="Download", exact=True))
    with zipfile.ZipFile(file) as packed:
        assert {name.partition("/")[0] for name in packed.namelist()} == {run.id for run in pair}
    page.get_by_text("Import a run").click()
    content = {"name": "runs.zip", "mimeType": "application/zip", "buffer": file.read_bytes()}
    page.set_input_files("input[type=file]", content)
    page.get_by_text("4 runs, 0 selected").wait_for()
    for run in pair:
        copy = run.path.with_name(f"{run.id}-2")
        assert copy.is_dir()
        shutil.rmtree(copy)


def test_a_title_is_given_in_the_browser(page, server, pair):
    page.goto(f"{server}/runs")
    page.get_by_text("2 runs, 0 selected").wait_for()
    tick(page, 1)
    page.get_by_role("button", name="Describe").click()
    page.get_by_label("Title").fill("<b>Zwilling</b> 双胞胎")
    page.get_by_role("button", name="Save").click()
    shelf = pair[1].path / "shelf.json"
    until(page, lambda: shelf.exists() and "Zwilling" in shelf.read_text("utf-8"), "the title was not saved")
    page.goto(f"{server}/compare?ids={','.join(run.id for run in pair)}")
    page.get_by_text("<b>Zwilling</b> 双胞胎").first.wait_for()
    shelf.unlink()


def test_a_copied_address_opens_the_same_table_and_the_same_comparison(page, server, pair):
    page.goto(f"{server}/runs")
    page.get_by_text("2 runs, 0 selected").wait_for()
    search = page.get_by_role("textbox", name="Search")
    search.fill("twin")
    search.press("Enter")
    page.get_by_text("1 runs, 0 selected").wait_for()
    page.wait_for_url("**/runs?*runs_text=twin*")
    same = page.context.new_page()
    same.goto(page.url)
    same.get_by_text("1 runs, 0 selected").wait_for()
    same.locator("input[aria-label=Search][value=twin]").wait_for()
    same.goto(f"{server}/compare?ids={','.join(run.id for run in pair)}")
    same.get_by_role("heading", name="Differences").wait_for()
    at_rest(same)
    same.get_by_text("Trials and seeds together").click()
    same.wait_for_url("**/compare?*compare_together=false*")
    page.goto(same.url)
    page.get_by_role("heading", name="Differences").wait_for()
    until(page, lambda: not page.get_by_label("Trials and seeds together").first.is_checked())
    same.close()
