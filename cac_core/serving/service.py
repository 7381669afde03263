"""Verdicts over HTTP: a run's network with a threshold, or an exported ONNX file, for programs in any language.

POST /v1/judge takes one image or several (multipart, JSON with base64, or an image as the body) and gives for each its
decision, label, score, theta, gamma and notes, or an error. GET /v1/run says who decides, /health and /ready whether
it lives and has loaded its network, /metrics counts in Prometheus' text format, /openapi.json describes all of it.

What comes in is untrusted: sizes, counts, times and what waits are bounded, and images are only decoded. Images of
requests that come together go through the network together.
"""

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol, h11

from cac_core.data import images
from cac_core.results.judge import UNKNOWN, plain
from cac_core.serving.deciders import Decider
from cac_core.serving.watch import Judged, Keeper

BATCH = 32  # images that go through the network together
BUSY = HTTPException(503, "Too many images wait already. Try again later.", {"Retry-After": "1"})
VALUES = 100_000  # in JSON, at most
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # of the histogram of seconds


def refuse(status: int, why: str, headers: dict[str, str] | None = None) -> NoReturn:
    """Programs read it, in English."""
    raise HTTPException(status, why, headers)


@dataclass(frozen=True)
class Limits:
    """body: bytes of a request; count: images in one; requests: that are worked on at once; waiting: images of these;
    connections: that are open; seconds: for a request to arrive, for it to be judged, and for its answer to be taken.
    """

    body: int = 32_000_000
    count: int = 64
    requests: int = 32
    waiting: int = 256
    connections: int = 512
    seconds: float = 30.0


class _Queue:
    """Images that wait for the network, which takes what is there, BATCH at most, as often as it is free."""

    def __init__(self, decider: Decider, most: int):
        self.decider, self.most = decider, most
        self.waiting = 0  # images of requests that are under way, to be decoded or to be judged
        self.queue: asyncio.Queue = asyncio.Queue()
        self.network = ThreadPoolExecutor(1, "network")
        self.ready = False

    def _judged(self, pixels: list[np.ndarray]) -> list[dict[str, Any]]:
        looked = self.decider.looks(np.stack(pixels))
        vectors = self.decider.vectors(looked)
        return [{**said, "vector": vector} for said, vector in zip(self.decider.says(looked), vectors, strict=True)]

    async def work(self) -> None:
        loop, row = asyncio.get_running_loop(), self.decider.row
        blank = np.zeros((row.size, row.size, row.channels), np.uint8)
        await loop.run_in_executor(self.network, self._judged, [blank])  # loads what is needed
        self.ready = True
        while True:
            some = [await self.queue.get()]
            while len(some) < BATCH and not self.queue.empty():
                some.append(self.queue.get_nowait())
            some = [(pixels, future) for pixels, future in some if not future.done()]  # of requests that have not ended
            if not some:
                continue
            try:
                said = await loop.run_in_executor(self.network, self._judged, [pixels for pixels, _ in some])
            except Exception as error:  # whoever asked is told, and the next one is served
                for _, future in some:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), one in zip(some, said, strict=True):
                    if not future.done():
                        future.set_result(one)

    @contextlib.contextmanager
    def room_for(self, count: int) -> Iterator[None]:
        """Raises HTTPException where too many wait."""
        if self.waiting + count > self.most:
            raise BUSY
        self.waiting += count
        try:
            yield
        finally:
            self.waiting -= count

    async def judged(self, many: list[np.ndarray]) -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in many]
        for pair in zip(many, futures, strict=True):
            self.queue.put_nowait(pair)
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()


class _Counts:
    def __init__(self):
        self.requests: Counter[int] = Counter()
        self.decisions: Counter[str] = Counter()
        self.buckets: Counter[float] = Counter()
        self.seconds = 0.0

    def saw(self, status: int, seconds: float) -> None:
        self.requests[status] += 1
        self.seconds += seconds
        self.buckets[next((bound for bound in BOUNDS if seconds <= bound), float("inf"))] += 1

    def text(self, about: dict[str, Any], waiting: int) -> str:
        run = _label(about["run"])
        lines = ["# TYPE anchorscope_info gauge",
                 f'anchorscope_info{{run="{run}",version="{_label(about["version"])}"}} 1',
                 "# TYPE anchorscope_requests_total counter"]  # fmt: skip
        lines += [f'anchorscope_requests_total{{code="{code}"}} {n}' for code, n in sorted(self.requests.items())]
        lines += ["# TYPE anchorscope_images_total counter"]
        lines += [f'anchorscope_images_total{{decision="{_label(name)}"}} {n}'
                  for name, n in sorted(self.decisions.items())]  # fmt: skip
        lines += ["# TYPE anchorscope_images_waiting gauge", f"anchorscope_images_waiting {waiting}"]
        lines += ["# TYPE anchorscope_request_seconds histogram"]
        total = 0
        for bound in (*BOUNDS, float("inf")):
            total += self.buckets[bound]
            lines.append(
                f'anchorscope_request_seconds_bucket{{le="{"+Inf" if bound == float("inf") else bound}"}} {total}'
            )
        lines += [f"anchorscope_request_seconds_sum {self.seconds:.6f}", f"anchorscope_request_seconds_count {total}"]
        return "\n".join(lines) + "\n"


def _label(value: Any) -> str:
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def service(
    decider: Decider, *, token: str | None = None, limits: Limits = Limits(), decoders: int = 2,
    keeper: Keeper | None = None,
) -> "_Counting":  # fmt: skip
    """The ASGI application. token, where given, must come as `Authorization: Bearer TOKEN`. keeper keeps what is
    judged, before the answer; where it cannot, the answer goes out all the same, and the trouble is said and counted.
    """
    counts, pool, keeping = _Counts(), ThreadPoolExecutor(decoders, "decoder"), ThreadPoolExecutor(1, "keeper")
    # said once: the run may be rewritten or deleted while it is served
    about, row, way, names = decider.about, decider.row, decider.way, list(decider.names)
    held: dict[str, Any] = {"requests": 0, "bytes": 0}

    @asynccontextmanager
    async def lifespan(app):
        held["queue"] = queue = _Queue(decider, limits.waiting)
        task = asyncio.create_task(queue.work())
        task.add_done_callback(ended)
        yield
        task.cancel()
        queue.network.shutdown()
        pool.shutdown()
        keeping.shutdown()

    def ended(task: asyncio.Task) -> None:
        if not task.cancelled() and (error := task.exception()):
            counted.fails(error)

    def kept(judged: list[Judged]) -> None:
        try:
            keeper.keep(judged)
        except Exception as error:  # a full disk, or a file that somebody has spoilt
            counts.decisions["not kept"] += len(judged)
            print(f"What was judged could not be kept: {error}", file=sys.stderr, flush=True)

    def allowed(request: Request) -> None:
        said = request.headers.get("authorization", "")
        if token and not hmac.compare_digest(said.encode(), f"Bearer {token}".encode()):
            refuse(401, "A token is needed: Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"})

    def decoded(content: bytes) -> tuple[np.ndarray, list[str]] | str:
        try:
            pixels, notes = images.seen(content, row, way)
        except ValueError as error:
            return str(error)
        return pixels, list(map(str, notes))

    async def judge(request: Request) -> Response:
        allowed(request)
        arriving = _Arriving(request, limits, held)
        try:
            async with asyncio.timeout(limits.seconds):
                arrived = await _arrived(arriving.request, limits)
            if held["requests"] >= limits.requests:
                raise BUSY
            held["requests"] += 1
            try:
                return await _while_here(request, answered(arrived))
            finally:
                held["requests"] -= 1
        finally:
            arriving.end()

    async def answered(arrived: bytes | _Named) -> Response:
        loop, queue, turns = asyncio.get_running_loop(), held["queue"], asyncio.Semaphore(decoders)

        async def seen(content: bytes) -> tuple[np.ndarray, list[str]] | str:
            async with turns:  # requests share the decoders, however many images each has
                return await loop.run_in_executor(pool, decoded, content)

        async with asyncio.timeout(limits.seconds):
            named = await loop.run_in_executor(pool, _in_json, arrived) if isinstance(arrived, bytes) else arrived
            _check(named, limits)
            with queue.room_for(len(named)):
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(seen(content)) for _, content in named]
                looked = [task.result() for task in tasks]
                every = iter(await queue.judged([one[0] for one in looked if not isinstance(one, str)]))
        results, judged = [], []
        for (name, _), one in zip(named, looked, strict=True):
            if isinstance(one, str):
                results.append({"file": name, "error": one})
                counts.decisions["error"] += 1
            else:
                said = next(every)
                results.append({"file": name, **{k: v for k, v in said.items() if k in SAID}, "notes": one[1]})
                counts.decisions[said["decision"] if said["decision"] == UNKNOWN else "known"] += 1
                judged.append(Judged(
                    name, said["decision"], said["label"], said["score"], said["theta"], one[0], said["vector"]
                ))  # fmt: skip
        if keeper and judged:
            await loop.run_in_executor(keeping, kept, judged)
        status = 422 if all("error" in one for one in results) else 200
        return JSONResponse(plain({**about, "results": results}), status)

    async def run(request: Request) -> Response:
        allowed(request)
        return JSONResponse(plain({**about, "classes": names, "limits": vars(limits)}))

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(request: Request) -> Response:
        is_ready = held["queue"].ready
        return JSONResponse({"status": "ready" if is_ready else "loading"}, 200 if is_ready else 503)

    async def metrics(request: Request) -> Response:
        allowed(request)
        return PlainTextResponse(counts.text(about, held["queue"].waiting), media_type="text/plain; version=0.0.4")

    async def described(request: Request) -> Response:
        return JSONResponse(openapi(about, limits, bool(token)))

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})

    routes = [Route("/v1/judge", judge, methods=["POST"]), Route("/v1/run", run), Route("/health", health),
              Route("/ready", ready), Route("/metrics", metrics), Route("/openapi.json", described),
              Route("/", page)]  # fmt: skip

    async def refused(request: Request, error: Exception) -> Response:
        closing = {"Connection": "close"} if _goes_on(request) else {}
        if isinstance(error, HTTPException):
            return JSONResponse({"error": error.detail}, error.status_code, {**(error.headers or {}), **closing})
        if isinstance(error, TimeoutError):
            return JSONResponse({"error": "It took too long."}, 504, closing)
        return JSONResponse({"error": "The network failed over these images. The service's log says how."}, 500)

    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={
        HTTPException: refused, TimeoutError: refused, Exception: refused,
    })  # fmt: skip
    counted = _Counting(app, counts)
    return counted


SAID = ("decision", "label", "score", "theta", "gamma")


class _Counting:
    """Counts each request with its status and time."""

    def __init__(self, app, counts: _Counts):
        self.app, self.counts = app, counts
        self.failure: BaseException | None = None
        self.stop: Callable[[], None] = lambda: None

    def fails(self, error: BaseException) -> None:
        """The network cannot be loaded: nothing will ever be judged here."""
        self.failure = error
        self.stop()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status = time.monotonic(), [500]

        async def sent(message):
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            self.counts.saw(status[0], time.monotonic() - began)


def _goes_on(request: Request) -> bool:
    """Whether more of a refused request may still come than is worth waiting for."""
    length = request.headers.get("content-length", "")
    return "transfer-encoding" in request.headers or (length.isdigit() and int(length) > LINGERING[1])


LINGERING = 2.0, 1_000_000  # seconds, and bytes of a refused request, after which its connection ends


class _Lingering:
    """A transport that lets an answer be read before it closes while more is coming: else the answer would be lost."""

    def __init__(self, protocol: "_Guarded", transport: asyncio.Transport):
        self.protocol, self.transport, self.left = protocol, transport, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def close(self) -> None:
        if self.left is not None or self.protocol.conn.their_state is not h11.SEND_BODY or self.transport.is_closing():
            return self.transport.close()
        self.left = LINGERING[1]
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self.transport.resume_reading()
        self.protocol.loop.call_later(LINGERING[0], self.transport.close)

    def is_closing(self) -> bool:
        return self.left is not None or self.transport.is_closing()

    def passed_over(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            self.transport.abort()


class _Guarded(H11Protocol):
    """Connections of which there are not too many, none that sends on when refused, and none whose client keeps it
    waiting: for a request that it has begun, or for the first, or to take an answer."""

    most, seconds = Limits.connections, Limits.seconds
    patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport):
        transport = _Lingering(self, transport)
        super().connection_made(transport)
        # an answer is two small writes; asyncio sees to this only for sockets of its own making
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(0)  # writing is paused as long as anything is not taken
        self._waits(True)
        if len(self.connections) > self.most:
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            transport.close()

    def data_received(self, data):
        if self.transport.left is not None:
            return self.transport.passed_over(len(data))
        super().data_received(data)
        self._look()

    def on_response_complete(self):
        super().on_response_complete()
        self._look()

    def pause_writing(self):
        super().pause_writing()
        self._look()

    def resume_writing(self):
        super().resume_writing()
        self._look()

    def connection_lost(self, error):
        self._waits(False)
        super().connection_lost(error)

    def _look(self):
        """Whether it is the client's turn. While the application is at a request, it sees to how long that takes."""
        at_work = self.cycle and not self.cycle.response_complete
        begun = self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]
        self._waits(self.flow.write_paused or (not at_work and begun))

    def _waits(self, waits: bool) -> None:
        """From the first time that it does, it does so for some seconds at most."""
        if waits and not self.patience:
            self.patience = self.loop.call_later(self.seconds, self.transport.abort)
        elif not waits and self.patience:
            self.patience.cancel()
            self.patience = None


def serve(
    app, host: str, port: int, limits: Limits = Limits(), listens: Callable[[int], None] = lambda port: None
) -> None:
    """Answer until SIGTERM or SIGINT; what is under way then is ended first. listens is told the port once there is
    somebody at it. Raises OSError where it cannot listen, and whatever kept the network from being loaded."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 4096), hard))
    protocol = type("Guarded", (_Guarded,), {"most": limits.connections, "seconds": limits.seconds})
    config = uvicorn.Config(
        app, http=protocol, ws="none", log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=15, timeout_graceful_shutdown=20, backlog=2048,
    )  # fmt: skip
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    listens(listening.getsockname()[1])
    server = uvicorn.Server(config)
    app.stop = lambda: setattr(server, "should_exit", True)
    server.run(sockets=[listening])
    if app.failure:
        raise app.failure


# --- what a request holds --------------------------------------------------------------------------------------------


_Named = list[tuple[str, bytes]]  # images, by name


class _Arriving:
    """A request whose body is taken in, as long as it is not too large, nor all that are held together."""

    def __init__(self, request: Request, limits: Limits, held: dict[str, Any]):
        self.request = Request(request.scope, self._receive)
        self.receive, self.limits, self.held, self.bytes = request.receive, limits, held, 0

    async def _receive(self):
        message = await self.receive()
        count = len(message.get("body", b""))
        self.bytes += count
        self.held["bytes"] += count
        if self.bytes > self.limits.body:
            refuse(413, f"A request has {self.limits.body} bytes at most.")
        if self.held["bytes"] > self.limits.body * self.limits.requests:
            raise BUSY
        return message

    def end(self) -> None:
        self.held["bytes"] -= self.bytes


async def _arrived(request: Request, limits: Limits) -> bytes | _Named:
    """JSON as it is, or the images. Raises HTTPException for what is too large, or of no kind that is taken."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.body:
        refuse(413, f"A request has {limits.body} bytes at most.")
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            return await _in_form(request, limits)
        if kind == "application/json":
            return await _body(request)
        if kind.startswith("image/") or kind in ("application/octet-stream", ""):
            return [("image", await _body(request))]
    except ClientDisconnect:
        refuse(400, "The request ended too early.")
    refuse(415, "Send multipart/form-data, application/json, or an image as the body.")


async def _while_here(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """What is answered, if the client stays for it; else what has not begun is not done. The body has been read."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = answering, leaving = asyncio.create_task(answer), asyncio.create_task(left())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done() and not answering.done():
            refuse(499, "The client has gone away.")
        return await answering
    finally:
        for task in tasks:
            task.cancel()


def _check(found: _Named, limits: Limits) -> None:
    """Raises HTTPException for too many images, or none."""
    if not found or found == [("image", b"")]:
        refuse(400, "There is no image in the request.")
    if len(found) > limits.count:
        refuse(413, f"A request has {limits.count} images at most.")


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
    return bytes(content)


async def _in_form(request: Request, limits: Limits) -> _Named:
    try:
        async with request.form(max_files=limits.count + 1, max_fields=16) as form:
            files = [value for _, value in form.multi_items() if not isinstance(value, str)]
            return [(_name(file.filename or "image"), await file.read()) for file in files]
    except (MultiPartException, HTTPException, UnicodeError) as error:
        if isinstance(error, HTTPException) and error.status_code != 400:
            raise
        refuse(400, "The form cannot be read, or it has too many parts.")


def _in_json(content: bytes) -> _Named:
    try:
        if sum(map(content.count, (b",", b"[", b"{"))) > VALUES:  # to take it apart would hold up everybody
            raise ValueError
        said = json.loads(content)
        found = said["images"] if isinstance(said, dict) and "images" in said else [said]
        return [(_name(one.get("file", "image")), base64.b64decode(one["data"], validate=True)) for one in found]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        refuse(400, 'Send {"images": [{"file": NAME, "data": BASE64}]}.')


def _name(said: Any) -> str:
    """A name that can be written anywhere."""
    return str(said)[:200].encode("utf-8", "backslashreplace").decode()


# --- what it says of itself ------------------------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Anchorscope</title>
<style>body{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}
pre{background:#eee;padding:.75rem;overflow-x:auto}</style>
<h1>Anchorscope: known, or unknown?</h1>
<p>Send an image, or several:</p>
<pre>curl -F image=@picture.png -F image=@another.jpg http://127.0.0.1:8600/v1/judge</pre>
<p>An image is rejected, as <code>unknown</code>, where its score lies above theta.</p>
<ul><li><a href="/v1/run">/v1/run</a>: who decides, and the bounds</li>
<li><a href="/openapi.json">/openapi.json</a>: the whole interface</li>
<li><a href="/metrics">/metrics</a>, <a href="/health">/health</a>, <a href="/ready">/ready</a></li></ul></html>"""


def openapi(about: dict[str, Any], limits: Limits, secured: bool) -> dict[str, Any]:
    """The interface, as OpenAPI 3.1 describes it."""
    number, text = {"type": "number"}, {"type": "string"}
    result = {
        "type": "object",
        "properties": {
            "file": text, "decision": text | {"description": f"a known class, or {UNKNOWN!r}"}, "label": text,
            "score": number, "theta": number, "gamma": {"type": "object", "additionalProperties": number},
            "notes": {"type": "array", "items": text}, "error": text,
        },
    }  # fmt: skip
    error = {"type": "object", "properties": {"error": text}}

    def answer(what: str, schema: dict) -> dict:
        return {"description": what, "content": {"application/json": {"schema": schema}}}

    one = {"type": "object", "required": ["data"],
           "properties": {"file": text, "data": text | {"contentEncoding": "base64"}}}  # fmt: skip
    judge = {
        "summary": "Judge images",
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"type": "object", "properties": {
                    "image": {"type": "array", "maxItems": limits.count, "items": text | {"format": "binary"}}}}},
                "application/json": {"schema": {"type": "object", "properties": {
                    "images": {"type": "array", "maxItems": limits.count, "items": one}}}},
                "image/*": {"schema": text | {"format": "binary"}},
            },
        },
        "responses": {
            "200": answer("A result for each image, in order", {"type": "object", "properties": {
                "run": text, "version": text, "results": {"type": "array", "items": result}}}),
            "422": answer("None of the images can be read", {"type": "object", "properties": {
                "results": {"type": "array", "items": result}}}),
            **{code: answer(what, error) for code, what in {
                "400": "There is no image in it", "401": "A token is needed", "413": "Too large, or too many images",
                "415": "Of a kind that is not taken", "503": "Too many images wait; Retry-After says how long",
                "504": "It took too long"}.items()},
        },
    }  # fmt: skip
    paths = {"/v1/judge": {"post": judge}}
    for path, what in {"/v1/run": "Who decides", "/health": "Whether it lives", "/ready": "Whether it has loaded",
                       "/metrics": "Counts, as Prometheus reads them"}.items():  # fmt: skip
        paths[path] = {"get": {"summary": what, "responses": {"200": {"description": what}}}}
    described = {
        "openapi": "3.1.0",
        "info": {"title": "Anchorscope", "version": about["version"] or "1"},
        "paths": paths,
    }
    if secured:
        described |= {"components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
                      "security": [{"token": []}]}  # fmt: skip
    return described
