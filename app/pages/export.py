"""A run and its threshold as one ONNX file, for programs without this project: made, checked, shown and taken along."""

import json
from pathlib import Path

import streamlit as st

from app import address, charts, controls, exports, jobs, links, picker, setting, wording
from app.setting import Setting
from app.words import t
from cac_core import shell
from cac_core.files import is_file
from cac_core.jobs import ends
from cac_core.results.judge import Threshold
from cac_core.scoring.scorers import DIFFERENTIABLE
from cac_core.serving import deciders

USUAL = 30  # seconds that it takes where nothing else is under way

run = picker.chosen_run()
st.markdown(
    t(
        "One file takes a prepared image and gives its decision, label, score and γ: Python, JavaScript, C++ or Java "
        "run it by ONNX Runtime, without this project and without torch."
    )
)


@st.fragment
def page():
    with wording.explained():
        if controls.lacks_network(run):
            return
        now = controls.score_and_threshold(run)
        decided_by(now)
        address.link("thresholds", t("Choose a threshold"), "tune")
        threshold = controls.threshold_of(now)
        links.write_link()
        if now.scorer not in DIFFERENTIABLE:
            not_held(now)
            return
        deciders.check_exportable(run, threshold)
        resize = False
        if deciders.takes_photos(run.row, setting.way(run)):
            resize = st.toggle(
                t("It takes photos of any size"), key="export_resize", persist_state="session",
                help=t("It cuts and reduces them itself, to one grey level as it is done here. Turning them upright by "
                       "what the camera noted, and putting them on white, is left to whoever opens them."),
            )  # fmt: skip
        made(threshold, resize)


def decided_by(now: Setting):
    st.markdown(t("Decided by **{scorer}** with θ = {theta}: {rule}.", scorer=t(wording.SHORT[now.scorer]),
                  theta=charts.number(now.theta), rule=wording.plain(setting.words(now))))  # fmt: skip


def not_held(now: Setting):
    held = [t(wording.SHORT[name]) for name in deciders.exported_for(run.recipe.method)]
    st.info(t("No file holds the score {scorer}. Of this run it holds {names}.", scorer=t(wording.SHORT[now.scorer]),
              names=wording.listed(held)), icon=":material/do_not_disturb_on:")  # fmt: skip


def made(threshold: Threshold, resize: bool):
    """The file where it is there, else the way to it."""
    file = exports.file_of(run, threshold, resize)
    job = jobs.making(run, file)
    if jobs.going(job):
        st.fragment(waits, run_every="2s")(file)
    elif is_file(file):
        shown(file)
    elif jobs.read_only():
        st.info(t("The app is only shown here: it makes no files."), icon=":material/lock:")
    else:
        if job is not None and job.state in ("failed", "lost"):
            st.error(wording.told(job.reason or t("It ended without a word.")), icon=":material/error:")
        st.button(t("Make the ONNX file"), type="primary", icon=":material/ios_share:", key="export_make",
                  on_click=make, args=(threshold, resize))  # fmt: skip
        st.caption(t("It takes about half a minute. The file is checked on validation images, and only written where "
                     "it decides about each of them as the run does."))  # fmt: skip


def make(threshold: Threshold, resize: bool):
    if jobs.read_only():
        return
    try:
        exports.make(run, threshold, resize)
    except (ValueError, OSError) as error:
        st.session_state.export_said = error


def waits(file: Path):
    job = jobs.making(run, file)
    if not jobs.going(job):
        st.rerun()
    line, stop = st.columns([5, 1], vertical_alignment="center")
    seconds = round(ends.seconds(job))
    line.caption(
        t("Waits for its turn.")
        if job.state == "queued"
        else t("The network is written as a file, and checked on validation images: {seconds} s of about {usual}.",
               seconds=seconds, usual=USUAL)
        if seconds <= USUAL
        else t("The network is written as a file, and checked on validation images: {seconds} s.", seconds=seconds)
    )  # fmt: skip
    if not jobs.read_only() and stop.button(t("Stop"), key="export_stop", icon=":material/stop:"):
        with wording.explained():
            jobs.stop(job, None)


def shown(file: Path):
    inside, script = exports.inside(file), exports.preparation(file).read_text("utf-8")
    checked(inside)
    with st.container(horizontal=True):
        st.download_button(
            "network.onnx", file.read_bytes, "network.onnx", "application/octet-stream", type="primary",
            icon=":material/download:", on_click="ignore", key="export_onnx",
        )  # fmt: skip
        st.download_button(
            "network.prepare.py", script, "network.prepare.py", "text/x-python", icon=":material/download:",
            on_click="ignore", key="export_prepare",
        )  # fmt: skip
        st.download_button(
            "threshold.json", lambda: json.dumps(inside.said["threshold"], indent=1, ensure_ascii=False),
            "threshold.json", "application/json", icon=":material/download:", on_click="ignore", key="export_threshold",
        )  # fmt: skip
    left, right = st.columns([1, 1], gap="large")
    with left:
        commands(inside)
        st.subheader(t("How a picture is prepared"), anchor=False)
        st.caption(t("With Pillow and NumPy alone; what it makes is what the file takes."))
        st.code(script, "python", height=420)
    with right:
        st.subheader(t("What goes in and comes out"), anchor=False)
        names, types, shapes = zip(*inside.ports, strict=True)
        st.dataframe(
            {t("name"): names, t("type"): types, t("shape"): shapes,
             t("what it is"): [t(exports.MEANING[name]) if name in exports.MEANING else "" for name in names]},
            hide_index=True,
        )  # fmt: skip
        with st.expander(t("Its metadata"), icon=":material/data_object:"):
            st.caption(t("Under “anchorscope” in the file: the threshold with its rule, the names of the classes, how "
                         "images are prepared, the run, its version and commit."))  # fmt: skip
            st.json(inside.said, expanded=1)


def checked(inside: exports.Inside):
    """What the check on export has found."""
    found = inside.said.get("checked", {})
    count, at_theta = found.get("images", 0), found.get("at_theta", 0)
    one, two = st.columns([1, 3], vertical_alignment="center")
    one.metric(t("Size"), wording.megabytes(inside.size))
    with two:
        st.success(
            t("Checked on {count} images ({what}): the file decides as the run does about each of them.",
              count=count - at_theta, what=wording.told(found.get("of", ""))),
            icon=":material/check:",
        )  # fmt: skip
        if photos := found.get("photos"):
            st.caption(t("Of {count} photos that it reduced itself, decided otherwise, all of them at θ: {differ}. "
                         "Scores move by {most} at most.", count=photos["images"], differ=photos["differ"],
                         most=charts.number(photos["scores_move"])))  # fmt: skip
            st.caption(wording.told(photos.get("otherwise", "")))
        if at_theta:
            st.caption(t("At θ itself, where rounding decides: {count}.", count=at_theta))


def commands(inside: exports.Inside):
    st.subheader(t("How it is used"), anchor=False)
    python, script, service, folder = st.tabs(["Python", "JavaScript", t("A service"), t("A folder")])
    python.code("pip install onnxruntime pillow\npython network.prepare.py picture.png", "bash", wrap_lines=True)
    script.code(inside.javascript, "javascript", wrap_lines=True)
    service.code(
        f"{shell.command('serve', '--onnx', 'network.onnx', '--port', '8600')}\n"
        "curl -F image=@picture.png http://127.0.0.1:8600/v1/judge", "bash", wrap_lines=True,
    )  # fmt: skip
    line = shell.command("score", "--onnx", "network.onnx", "FOLDER", "--out", "verdicts.csv")
    folder.code(line, "bash", wrap_lines=True)
    with service:
        address.link("watch", t("What is rejected in use"), "visibility")
    with folder:
        st.caption(t("These two need this project, but neither torch nor the run."))


if said := st.session_state.pop("export_said", None):
    wording.explain(said)
page()
