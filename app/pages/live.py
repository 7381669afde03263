"""Live: the queue, and how one training goes or went: its losses, its pace, and the cloud that moves to anchors."""

import streamlit as st

from app import address, charts, controls, courses, growing, jobs, links, made, picker, verdicts, wording
from app.words import phrases, t
from cac_core import runs
from cac_core.files import is_file
from cac_core.jobs import launch, worker
from cac_core.jobs.queue import Job, has_worker
from cac_core.recipe import Recipe
from cac_core.runs import Run

SHOWN = 10  # jobs that wait that are listed, and such that have ended at a time
USES = {"score": "many", "export": "export"}  # kinds of jobs that hold up nothing else on their run
PAGES = {
    "train": "home",
    "eval": "home",
    "sweep": "sweep",
    "map": "space",
} | USES  # where what a job made is to be seen
AHEAD = phrases(  # events that come before the first epoch, and how far they are
    {
        "reading": "Images decoded, once: {done} of {of}",
        "features": "Features of images, computed once: {done} of {of}",
    }
)
MAKING = "making"  # between the stages of a method that makes images up
LINKS: links.Links = {"watched": (str, None), "losses": (links.one_of(*courses.PARTS), "net")}

st.markdown(
    t(
        "What waits, what runs, and what became of it. Trainings go on when this page is closed; one that was stopped "
        "goes on where it was saved."
    )
)


links.read_link(LINKS)


def page():
    going, pulse = under_way(), launch.pulse(jobs.store())
    st.fragment(live, run_every="2s" if going else None, key="live")(going)
    if not going:
        st.fragment(wake, run_every="3s", key="wake")(pulse)


def wake(pulse: int):
    """The page looks at the queue again once something has been started, here or elsewhere."""
    if launch.pulse(jobs.store()) != pulse:
        st.rerun()


def under_way() -> bool:
    """Whether anything is going on that this page should look at again."""
    return any(jobs.going(job) for job in launch.settle(jobs.store())) or any(
        courses.status(run)["state"] in runs.ALIVE for run in runs.every(jobs.store())
    )


def live(looked: bool):
    with wording.explained():
        every = launch.settle(jobs.store())
        going = under_way()
        if going != looked:
            st.rerun()  # the page looks again by itself, or no longer
        queue(every, going)
        watch(every)
    links.put_in_link(LINKS)


# --- the queue -------------------------------------------------------------------------------------------------------


def queue(every: list[Job], going: bool):
    line = jobs.waiting(every)
    there = [job for job in every if job.on and not job.host and job.state in ("queued", "unreachable")]
    running = [job for job in every if job.state in launch.UNDER_WAY and job not in there]
    ended = [job for job in reversed(every) if not jobs.going(job)]
    if said := st.session_state.pop("live_said", None):
        st.warning(wording.told(said), icon=":material/info:")
    if not running and not line and not there:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(t("The queue is empty; what runs was started elsewhere.") if going else
                        t("Nothing is running, and nothing waits."))  # fmt: skip
            address.link("new", t("Start a new run"), "add")
    away = [job for job in running if job.on]
    for job in [*(job for job in running if not job.on), *away[:SHOWN], *line[:SHOWN], *there[:SHOWN]]:
        with st.container(border=True, key=f"job_{job.id}"):
            entry(job, line)
    if len(away) > SHOWN:
        st.markdown(t("{n} run on clusters; the first {some} are listed.", n=len(away), some=SHOWN))
    if (wait := len(line) + len(there)) > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(t("{n} wait; the first {some} are listed.", n=wait, some=SHOWN)
                        if max(len(line), len(there)) > SHOWN else t("{n} wait.", n=wait))  # fmt: skip
            if not jobs.read_only():
                st.button(t("Stop all that wait"), icon=":material/stop:", key="stop_waiting", on_click=act,
                          args=(jobs.stop_waiting,))  # fmt: skip
    if line and not has_worker(jobs.store()) and not jobs.read_only():
        st.button(t("Start what waits"), icon=":material/play_arrow:", key="work", on_click=act,
                  args=(worker.ensure_worker, jobs.store()))  # fmt: skip
    if ended:
        with st.expander(t("Ended ({n})", n=len(ended)), icon=":material/history:", key="ended"):
            what_ended(ended, line)


def what_ended(ended: list[Job], line: list[Job]):
    """All that has ended, ten at a time, and what can be done with them together."""
    again = [job for job in ended if job.state in launch.AGAIN]
    if not jobs.read_only() and len(ended) > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            if again:
                st.button(t("Go on with all {n}", n=len(again)), icon=":material/play_arrow:", key="again_all",
                          on_click=act, args=(jobs.go_on_all,))  # fmt: skip
            with st.popover(t("Remove all {n}", n=len(ended)), icon=":material/close:"):
                st.caption(t("They leave this list. Their runs stay; what never began is forgotten."))
                st.button(t("Remove all"), type="primary", key="remove_all", on_click=act, args=(jobs.remove_ended,))
    pages = -(-len(ended) // SHOWN)
    if st.session_state.get("ended_page", 1) > pages:
        st.session_state.ended_page = pages
    number = st.session_state.get("ended_page", 1)
    for job in ended[SHOWN * (number - 1) : SHOWN * number]:
        entry(job, line)
    if pages > 1:
        st.pagination(pages, key="ended_page")


def entry(job: Job, line: list[Job]):
    with st.container(horizontal=True, vertical_alignment="center"):
        wording.badge(job.state)
        name = job.run or (job.arguments[1] if job.kind in USES else "")
        run = Run(jobs.store() / name) if name else None
        title = picker.names([run])[name] if run else " ".join(job.arguments[1:2]) or job.id
        st.markdown(
            f"**{wording.plain(t(job.kind))}** {wording.plain(title)} · {wording.plain(job.where)}"
            + (" · " + t("part {said}", said=job.part) if job.part else ""), width="stretch",
        )  # fmt: skip
        if run and run.written and not jobs.going(job):
            address.link(PAGES.get(job.kind, "home"), t("Open"), "arrow_forward", {"run": run.id})
        elif run and job.kind == "train":
            st.button(t("Show"), key=f"show_{job.id}", icon=":material/visibility:", on_click=show, args=(job.run,))
        if not jobs.read_only():
            buttons(job, line)
    if job.reason and job.state != "finished":
        st.caption(
            "  \n".join(wording.plain(words) for words in wording.said(job.reason).splitlines() if words.strip())
        )
    if launch.given_up(job):
        st.caption(t("Stop is asked for. It is done as soon as {on} answers.", on=wording.plain(job.on)))


def show(name: str):
    st.session_state.watched = name


def buttons(job: Job, line: list[Job]):
    def button(label: str, icon: str, name: str, work, *args, disabled: bool = False):
        st.button(label, key=f"{name}_{job.id}", icon=f":material/{icon}:", on_click=act, args=(work, *args),
                  disabled=disabled)  # fmt: skip

    if job in line and len(line) > 1:
        place = [one.id for one in line].index(job.id)
        button(t("Sooner"), "arrow_upward", "up", reorder, job, -1, disabled=place == 0)
        button(t("Later"), "arrow_downward", "down", reorder, job, 1, disabled=place == len(line) - 1)
    if jobs.going(job):
        button(t("Stop"), "stop", "stop", launch.stop, job, disabled=job.state == "stopping" or job.asked > 0)
    if job.state in launch.AGAIN:
        button(t("Go on"), "play_arrow", "again", jobs.go_on, job, None)
    if launch.given_up(job):  # where Stop was a moment ago: a second click must not do this
        with st.popover(t("Give up…"), icon=":material/close:", key=f"give_up_{job.id}"):
            st.caption(t("It leaves this list. Whether it still runs on {on}, nobody knows from here.",
                         on=wording.plain(job.on)))  # fmt: skip
            button(t("Remove"), "close", "remove", launch.remove, job)
    elif not jobs.going(job):
        button(t("Remove"), "close", "remove", launch.remove, job)


def reorder(job: Job, by: int):
    line = jobs.waiting(launch.jobs(jobs.store()))
    if job.id in (one.id for one in line):
        for one, priority in jobs.moved(line, job, by).items():
            launch.reorder(launch.find(jobs.store(), one), priority)


def act(work, *args):
    """Do something with the queue; what has changed since the page was drawn is said, and no harm."""
    if jobs.read_only():
        return
    try:
        work(*args)
    except (ValueError, OSError) as error:
        st.session_state.live_said = str(error)


# --- one training ----------------------------------------------------------------------------------------------------


def watch(every: list[Job]):
    mine = {job.run: job for job in every if job.kind == "train" and job.run}
    found = {run.id: run for run in runs.every(jobs.store())}
    names = sorted(
        {*mine, *(name for name, run in found.items() if courses.sound(run) or run.beginning)},
        key=lambda name: (rank(mine.get(name), found.get(name)), -started(found.get(name)), name),
    )
    if (asked := st.session_state.get("watched")) not in names:
        st.session_state.pop("watched", None)
        if asked:
            said = t("There is no training called “{asked}” here.", asked=wording.plain(asked[:80]))
            st.caption(f"{said} {picker.in_trash(asked)}")
    if not names:
        st.caption(t("What is trained is shown here, from its first epoch on."))
        return
    st.subheader(t("One training"), anchor=False)
    called = picker.names(found.values())
    name = st.selectbox(
        t("Run"), names, key="watched", persist_state="session", label_visibility="collapsed",
        format_func=lambda name: called.get(name, name),
    )  # fmt: skip
    job, run = mine.get(name), found.get(name)
    if run is None or not courses.sound(run):
        unseen(name, job, run)
        said_last(job, None)
        return
    state = job.state if jobs.going(job) else run.state
    head(run, job, state)
    said = courses.course(run)
    if said is not None:
        pictures(run, said)
    said_last(job, run)


def unseen(name: str, job: Job | None, run: Run | None):
    """What is said of a training that has left nothing to show: it has yet to, could not, or is gone."""
    if job is not None and job.state in ("failed", "lost"):
        trouble(job, None, job.reason)
    elif jobs.going(job) or (run and run.beginning):
        st.info(t("It has not begun yet.") if job and job.state == "queued" else t("It is being made ready…"),
                icon=":material/hourglass_top:")  # fmt: skip
        if run and (said := courses.course(run)) and said.last["kind"] in AHEAD:
            ahead(said.last)
    elif job is not None and job.state == "stopped" and run is None:
        st.info(wording.told(job.reason), icon=":material/pause:")
        if not jobs.read_only():
            st.button(t("Go on"), icon=":material/play_arrow:", key="run_again", on_click=act,
                      args=(jobs.go_on, job, None))  # fmt: skip
    elif run is not None:
        wording.explain(ValueError(picker.problem_of(run)))
    else:
        st.warning(t("This run is not here any more.") + f" {picker.in_trash(name)}", icon=":material/delete:")
        address.link("runs", t("To the runs"), "table_rows")


def ahead(event: dict):
    """How far that is which comes before the first epoch."""
    words = t(AHEAD[event["kind"]], done=event["done"], of=event["of"])
    if event.get("images_per_second") and event["done"] < event["of"]:
        words += " · " + t("{n} a second, {time} left", n=f"{event['images_per_second']:.0f}",
                           time=wording.span(event["seconds_left"]))  # fmt: skip
    st.progress(event["done"] / max(event["of"], 1), words)


def rank(job: Job | None, run: Run | None) -> int:
    """What is under way first, then what waits."""
    if (job and job.state in launch.UNDER_WAY) or (run and courses.status(run)["state"] in runs.ALIVE):
        return 0
    return 1 if jobs.going(job) else 2


def started(run: Run | None) -> float:
    return float(courses.status(run).get("changed", 0.0)) if run else 0.0


def head(run: Run, job: Job | None, state: str):
    recipe = run.recipe
    total = recipe.epochs + recipe.fine_epochs
    said = courses.course(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        wording.badge(state)
        st.caption(
            t("{method} on {dataset}, {backbone} network, on {device}",
              method=wording.plain(wording.method(recipe.method)), dataset=wording.plain(recipe.dataset),
              backbone=wording.plain(recipe.backbone),
              device=wording.plain(str(run.status.get("device") or t("an unknown device")))), width="stretch",
        )  # fmt: skip
        actions(run, job, state)
    if state == "finished" and (found := verdicts.worth(run)):
        wording.worth(found)
    if state == "finished" and (reason := run.status.get("reason")):  # how it came without a training of its own
        st.caption(" ".join(map(wording.told, [str(reason), *run.record.get("notes", [])])))
    wording.doubts(said.warnings if said else ())
    if state == "finished" and made.there(run):
        made.link(run)
    if state in ("failed", "lost"):
        trouble(job, run, str(run.status.get("reason") or (job.reason if job else "")))
    elif job is not None and job.state == "failed" and jobs.of_other_images(job.reason):
        trouble(job, run, job.reason)  # of the run that is there, nothing is wrong
    if said is None:
        return
    done = said.epochs[-1] if said.epochs else 0
    step = said.last.get("step", 0) / max(said.last.get("steps", 1), 1) if said.last["kind"] == "progress" else 0.0
    going = state in ("starting", "running", "stopping")
    part = min((done + step) / total, 1.0)
    words = t("Epoch {done} of {total}", done=done, total=total)
    if going and done == total:
        words += " · " + t("being evaluated")
    elif going and said.last["kind"] == MAKING:
        words += " · " + t("images are made: {done} %", done=said.last.get("done", 0))
    before = said.last["kind"] in AHEAD
    if going and before:
        ahead(said.last)
    else:
        st.progress(part, words)
    if not said.epochs:
        return
    with st.container(horizontal=True):
        accuracy = said.terms.get(("validation", "accuracy"), ())
        tile(t("Accuracy, validation"), charts.percent(accuracy[-1]) if accuracy else "–")
        rate = (
            "–"
            if before or said.last["kind"] == MAKING
            else f"{said.last.get('images_per_second', 0):,.0f}".replace(",", "\u202f")
        )
        tile(t("Images a second"), rate)
        if said.memory:
            tile(t("Memory, at most"), wording.megabytes(said.memory))
        if going:
            tell = "seconds_left" in said.last and not before
            tile(t("Time left"), wording.span(said.last["seconds_left"]) if tell else "–")
        tile(t("Best epoch"), str(said.best) if said.best > 0 else "–")


def tile(title: str, value: str):
    st.metric(title, value, border=True, width=168)


def actions(run: Run, job: Job | None, state: str):
    if state == "finished":
        address.link("home", t("See what it can do"), "arrow_forward", {"run": run.id})
        growing.compared(run)
    if jobs.read_only() or jobs.going(job):
        return  # the buttons of what is going on are above
    if state in launch.AGAIN:
        again = job if job is not None and job.state in launch.AGAIN else None
        st.button(t("Go on"), icon=":material/play_arrow:", key="run_again", on_click=act,
                  args=(jobs.go_on, again, run))  # fmt: skip
    elif state in runs.ALIVE:
        st.button(t("Stop"), icon=":material/stop:", key="run_stop", on_click=act, args=(jobs.stop, None, run))


def trouble(job: Job | None, run: Run | None, reason: str):
    """Why it ended, and what to do next."""
    wording.explain(ValueError(reason or t("It ended without a word.")))
    if "fetch" in reason:
        address.link("data", t("Get the images under Data and trials"), "database", {"data_view": "sets"})
        return
    if run is not None and jobs.of_other_images(reason):
        if not jobs.read_only():
            st.button(t("Train again on the new images"), icon=":material/replay:", type="primary", key="run_again_new",
                      on_click=act, args=(train_again, run.recipe, run, True))  # fmt: skip
        return
    if run is not None and (smaller := jobs.smaller(run, reason)):
        st.markdown(t("The images of one step did not fit into memory. With fewer a step they may:"))
        if not jobs.read_only():
            st.button(t("Train again with batch {n}", n=smaller.batch), icon=":material/replay:", type="primary",
                      key="run_smaller", on_click=act, args=(train_again, smaller, run))  # fmt: skip
    saved = run is not None and is_file(run.path / "last.pt")
    what = t("“Go on” starts again from what was saved last.") if saved else t("Nothing was saved: it starts anew.")
    st.markdown(what + " " + t("To change a setting, start another run:"))
    address.link("new", t("New run"), "add")


def train_again(one: Recipe, run: Run, again: bool = False):
    """Put this recipe into the queue where the run was, and watch it; again as in jobs.train."""
    jobs.train([one], jobs.slot(run), again)
    st.session_state.watched = one.id


def pictures(run: Run, said: courses.Course):
    palette, total = controls.palette(), run.recipe.epochs + run.recipe.fine_epochs
    left, right = st.columns([1, 1], gap="large")
    with left:
        if said.epochs:
            loss(run, said)
            option = courses.accuracy_curve(said, palette, total)
            st.markdown(f"**{t('Accuracy on validation images, %')}**")
            st.echarts_chart(option, key="accuracy", height=charts.height(option, 160),
                             alt=t("Accuracy by epoch"))  # fmt: skip
            st.markdown(f"**{t('Learning rate')}**")
            option = courses.rate_curve(said, palette, total)
            st.echarts_chart(option, key="rate", height=charts.height(option, 120),
                             alt=t("Learning rate by epoch"))  # fmt: skip
        else:
            st.caption(t("Curves come with the first epoch."))
    with right:
        cloud = courses.snapshot(run)
        if cloud is None:
            return
        st.markdown("**" + t("Validation images after epoch {n}", n=cloud.epoch) + "**")
        st.echarts_chart(
            courses.cloud(cloud, run.known_names, palette), key="cloud", height=500,
            alt=t("The logits of {n} validation images on the wheel after epoch {e}.", n=len(cloud.labels),
                  e=cloud.epoch),
        )  # fmt: skip
        st.caption(
            t("Training pulls the images of each known class to its anchor on the rim.") if cloud.anchors
            else t("This method has no anchors: the class means are brought to the rim.")
        )  # fmt: skip
    table = st.expander(t("The numbers as a table"), on_change="rerun", key="course_table", icon=":material/table:")
    if table.open:
        columns = {f"{courses.term(name)}, {t(split)}": values for (split, name), values in said.terms.items()}
        table.dataframe({t("epoch"): said.epochs, **columns, t("learning rate"): said.lr}, hide_index=True)


def loss(run: Run, said: courses.Course):
    """What each part learns by, one after the other: a critic's losses would flatten those of the classifier."""
    parts, total = said.parts, run.recipe.epochs + run.recipe.fine_epochs
    part = parts[0]
    st.markdown(f"**{t('Loss')}**", help=courses.explained(said, parts))
    if len(parts) > 1:
        if st.session_state.get("losses") not in parts:
            st.session_state.losses = part
        part = st.segmented_control(
            t("Shown"), parts, key="losses", required=True, persist_state="session", label_visibility="collapsed",
            format_func=lambda part: t(courses.PARTS[part]),
        )  # fmt: skip
    option = courses.loss_curves(said, controls.palette(), total, part)
    last = ", ".join(f"{name} {charts.number(value)}" for name, value in courses.last(option).items())
    st.echarts_chart(option, key=f"loss_{part}", height=charts.height(option, 220),
                     alt=t("Losses by epoch; last: {told}", told=last))  # fmt: skip
    if said.turn:
        st.caption(
            t("The last stage begins with epoch {n}. By another loss it learns {what}: accuracy and loss may get worse "
              "there, and the best epoch is one of its own.", n=said.turn, what=t(courses.STAGES[run.recipe.method]))
        )  # fmt: skip


def said_last(job: Job | None, run: Run | None):
    if words := jobs.log_of(job, run):
        with st.expander(t("Log"), icon=":material/article:", key="log"):
            st.code(words, language=None)


with wording.explained():
    page()
