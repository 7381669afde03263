"""A button that takes a picture from the clipboard, where the browser lets a page do so."""

import base64
import binascii

import streamlit as st

from app.words import t

MOST = 20_000_000  # bytes

_component = st.components.v2.component(
    "anchorscope_paste",
    html='<button type="button"></button><span role="status"></span>',
    css="""
    button { min-height: 2.75rem; padding: 0 1rem; border-radius: .5rem; font: inherit; cursor: pointer;
             color: var(--st-text-color); background: transparent; border: 1px solid var(--st-border-color); }
    button:hover, button:focus-visible { border-color: var(--st-primary-color); color: var(--st-primary-color); }
    span { margin-left: .75rem; opacity: .75; }
    """,
    js="""
    export default function ({ data, parentElement, setTriggerValue }) {
      const button = parentElement.querySelector("button");
      const said = parentElement.querySelector("span");
      button.textContent = data.button;
      if (parentElement.host) parentElement.host.dataset.drawn = "";
      button.onclick = async () => {
        said.textContent = "";
        try {
          for (const item of await navigator.clipboard.read()) {
            const type = item.types.find((name) => name.startsWith("image/"));
            if (!type) continue;
            const bytes = new Uint8Array(await (await item.getType(type)).arrayBuffer());
            if (bytes.length > data.most) {
              said.textContent = data.large;
              return;
            }
            let text = "";
            for (let at = 0; at < bytes.length; at += 32768) {
              text += String.fromCharCode(...bytes.subarray(at, at + 32768));
            }
            setTriggerValue("image", btoa(text));
            return;
          }
          said.textContent = data.none;
        } catch {
          said.textContent = data.refused;
        }
      };
    }
    """,
)


def pasted(key: str) -> bytes | None:
    """Shows the button. Gives what was pasted just now, once; it need not be an image."""
    said = {
        "button": t("Paste"),
        "most": MOST,
        "large": t("That picture is larger than 20 MB."),
        "none": t("There is no picture in the clipboard."),
        "refused": t("The browser does not let the page read the clipboard."),
    }
    text = _component(key=key, data=said, on_image_change=_heard).image
    try:
        return base64.b64decode(text, validate=True) if text else None
    except (binascii.Error, TypeError):
        return b""  # which is told to be no image


def _heard() -> None:
    """A trigger is heard only where a callback stands for it."""
