"""How the app's page is served: as Streamlit's, with what has to be there before the first script of a page has run."""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
HEAD = b"<style>" + (Path(__file__).parent / "first.css").read_bytes() + b"</style></head>"


class Dressed:
    """ASGI: puts first.css into the head of every HTML page that is sent whole; all else goes through untouched."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http" or b"text/html" not in dict(scope["headers"]).get(b"accept", b""):
            return await self.app(scope, receive, send)
        # as it is, not packed, and not "as you have it": what the browser has may be of before first.css was changed
        refused = (b"accept-encoding", b"if-none-match", b"if-modified-since")
        asked = scope | {"headers": [(name, value) for name, value in scope["headers"] if name not in refused]}
        begun, parts = [], []

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                if not dict(message["headers"]).get(b"content-type", b"").startswith(b"text/html"):
                    return await send(message)
                begun.append(message)
            elif begun and message["type"] == "http.response.body":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    body = b"".join(parts).replace(b"</head>", HEAD, 1)
                    dropped = (b"content-length", b"etag", b"last-modified")
                    headers = [(name, value) for name, value in begun[0]["headers"] if name not in dropped]
                    headers.append((b"content-length", str(len(body)).encode()))
                    await send(begun[0] | {"headers": headers})
                    await send({"type": "http.response.body", "body": body})
            else:
                await send(message)

        await self.app(asked, receive, say)
