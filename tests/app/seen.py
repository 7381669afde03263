"""What a page tells its components, read out of AppTest, which knows nothing of them."""

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def components(at: AppTest, name: str) -> list[Any]:
    """What is sent to each component of that name."""

    def walk(node):
        for child in getattr(node, "children", {}).values():
            if getattr(child, "type", "") == "bidi_component" and child.proto.component_name == name:
                yield child.proto
            yield from walk(child)

    return list(walk(at._tree))


def sheet_of(at: AppTest) -> dict[str, Any]:
    """What the contact sheet of Try is told, without the pictures."""
    (said,) = [data for one in components(at, "anchorscope_sheet") if "rows" in (data := json.loads(one.json))]
    return said
