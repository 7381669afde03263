"""The address in the browser's bar says what is set, so that a copy of it opens the same picture.

It is replaced, not added to: the browser's Back goes to the page before, not through every theta. Streamlit's own
query parameters add an entry at each change, and its binding of widgets drops what is in a closed popover.
"""

from typing import Any

import streamlit as st

_component = st.components.v2.component(
    "anchorscope_address",
    js="""
    export default function ({ data, setTriggerValue }) {
      const url = new URL(window.location);
      for (const [name, value] of Object.entries(data.parameters)) {
        if (value === null) url.searchParams.delete(name);
        else url.searchParams.set(name, value);
      }
      if (url.href !== window.location.href) window.history.replaceState(window.history.state, "", url);
      if (data.here === undefined) return;
      window.removeEventListener("popstate", window.anchorscopeMoved); // of before, when other data came
      window.anchorscopeMoved = () => {
        const { pathname, searchParams } = new URL(window.location);
        const run = searchParams.get("run");
        // to another page one goes by Streamlit, and arrives there by its address
        const stays = pathname.endsWith(`/${data.here}`);
        if (stays && run !== null && run !== data.parameters.run) setTriggerValue("moved", run);
      };
      window.addEventListener("popstate", window.anchorscopeMoved);
    }
    """,
)


def show(parameters: dict[str, str | None], key: str = "address") -> None:
    """Put parameters into the address; None takes one out."""
    # with the page: going to another one empties the address, and the same data as before would not be heard
    _component(key=f"unseen_{key}", data={"parameters": parameters, "page": st.context.url})


def follow(run: str, page: str) -> None:
    """Put the run that a page shows into the address; where Back or Forward names another there, `moved` has it."""
    here = "" if page == "home" else page
    data = {"parameters": {"run": run}, "page": st.context.url, "here": here}
    _component(key="unseen_run_address", data=data, on_moved_change=_moved)


def _moved() -> None:
    st.session_state.moved_to = (st.session_state.get("unseen_run_address") or {}).get("moved")


def moved() -> str | None:
    """The run to which the browser has gone back or forward since the page ran last."""
    return st.session_state.pop("moved_to", None)


def link(page: str, label: str, icon: str, said: dict[str, str] | None = None, **how: Any) -> None:
    """A link to a page that opens the chosen run there, in another tab too; said is what else its address carries.

    Every way to another page is this or go: Streamlit's own forget what the address says.
    """
    st.page_link(_file(page), label=label, icon=f":material/{icon}:", query_params=_carried(said), **how)


def go(page: str, said: dict[str, str] | None = None) -> None:
    """To a page, as by such a link."""
    st.switch_page(_file(page), query_params=_carried(said))


def _file(page: str) -> str:
    return f"app/pages/{page}.py"


def _carried(said: dict[str, str] | None) -> dict[str, str]:
    run, spoken = st.session_state.get("run"), st.query_params.get("lang")
    return ({"run": run} if run else {}) | ({"lang": spoken} if spoken else {}) | (said or {})
