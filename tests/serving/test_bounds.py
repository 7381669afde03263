"""The service's bounds: what clients that are slow, many or ill-meaning can hold, by a real server with a toy."""

import asyncio
import base64
import contextlib
import http.client
import json
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from unittest.mock import MagicMock

import numpy as np
import pytest
import uvicorn
from uvicorn.server import ServerState

from cac_core.data.images import Format
from cac_core.serving import service
from cac_core.serving.service import Limits
from tests.waiting import LONG, wait_until

POST = b"POST /v1/judge HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


class Toy:
    """Decides by the first pixel."""

    row, way, names = Format(size=4, grain=4, channels=1, ink=False), "picture", ("a",)
    about = MappingProxyType({"run": "toy", "version": "1"})

    def looks(self, pixels):
        return (pixels[:, 0, 0].astype(float),)

    def says(self, looked):
        return [{"decision": "a", "label": "a", "score": score, "theta": 1.0, "gamma": {"a": score}}
                for score in looked[0][:, 0].tolist()]  # fmt: skip

    def vectors(self, looked):
        return looked[0]


@pytest.fixture
def decoded(monkeypatch):
    """Contents that were begun to be decoded; those that begin with "wait" wait at the gate."""
    begun, gate = [], threading.Event()

    def seen(content, row, way):
        begun.append(content)
        if content.startswith(b"wait"):
            assert gate.wait(LONG)
        return np.zeros((4, 4, 1), np.uint8), ()

    monkeypatch.setattr(service.images, "seen", seen)
    yield begun, gate
    gate.set()


@contextlib.contextmanager
def serving(**limits):
    bounds, port = Limits(**limits), []
    app = service.service(Toy(), limits=bounds)
    thread = threading.Thread(target=service.serve, args=(app, "127.0.0.1", 0, bounds, port.append))
    thread.start()
    try:
        wait_until(lambda: port)
        wait_until(lambda: asked(port[0], "GET", "/ready") == 200)
        yield port[0]
    finally:
        app.stop()
        thread.join()


def asked(port, method="POST", path="/v1/judge", body=None, kind="image/png", answer=None) -> int | None:
    """The status, None where the connection is closed without an answer; the answer's JSON is added to a list."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)) as connection:
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            got = connection.getresponse()
            content = got.read()
        except (ConnectionError, http.client.BadStatusLine):
            return None
        if answer is not None:
            answer.append(json.loads(content))
        return got.status


def in_form(*contents: bytes, name: bytes = b"x.png", more: str = "") -> dict:
    head = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="' + name + b'"\r\n\r\n'
    body = b"".join(head + content + b"\r\n" for content in contents) + b"--edge--\r\n"
    return {"body": body, "kind": "multipart/form-data; boundary=edge" + more}


def in_json(*contents: bytes, name: str = "x.png") -> dict:
    images = [{"file": name, "data": base64.b64encode(content).decode()} for content in contents]
    return {"body": json.dumps({"images": images}), "kind": "application/json"}


@contextlib.contextmanager
def sent(port, *parts: bytes):
    with socket.create_connection(("127.0.0.1", port), timeout=LONG) as client:
        for part in parts:
            client.sendall(part)
        yield client


@contextlib.contextmanager
def beside(*arguments, **named):
    """A request under way; gives a list that its status comes into."""
    status = []
    thread = threading.Thread(target=lambda: status.append(asked(*arguments, **named)))
    thread.start()
    try:
        yield status
    finally:
        thread.join()


# --- what one connection can hold ------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"GET /hea", POST + b"Content-Length: 9\r\n\r\nhalf", POST + b"Transfer-Enc"])
@pytest.mark.parametrize("first", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_request_that_does_not_come_to_an_end_is_not_waited_for(decoded, first, begun):
    """Neither the first of a connection nor a later one: whoever comes then finds the place free."""
    with serving(connections=1, seconds=0.5) as port, sent(port, first) as client:
        if first:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        client.sendall(begun)
        wait_until(lambda: asked(port, "GET", "/health") == 200)


def test_a_client_that_does_not_read_its_answers_is_not_waited_for(decoded):
    with serving(connections=1, seconds=0.5) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        poll = select.poll()
        poll.register(client, select.POLLHUP | select.POLLERR)

        def closed() -> bool:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                client.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            return bool(poll.poll(0))

        wait_until(closed)
        wait_until(lambda: asked(port, "GET", "/health") == 200)


def test_a_refused_request_that_does_not_come_to_an_end_is_not_waited_for(decoded):
    with serving(connections=1, seconds=0.5) as port, \
            sent(port, b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n") as client:  # fmt: skip
        assert client.recv(100).startswith(b"HTTP/1.1 404")
        wait_until(lambda: asked(port, "GET", "/health") == 200)


def test_it_is_the_client_that_is_not_waited_for_and_not_the_service():
    """A connection's clock by what happens on it."""

    async def course() -> list[bool]:
        may_answer, clock = asyncio.Event(), []

        async def app(scope, receive, send):
            await may_answer.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
            await send({"type": "http.response.body", "body": b"1"})

        transport = MagicMock()
        transport.is_closing.return_value = False
        transport.get_extra_info.side_effect = lambda what: MagicMock() if what == "socket" else None
        protocol = service._Guarded(uvicorn.Config(app, log_config=None), ServerState(), {}, asyncio.get_running_loop())

        def ticks() -> None:
            clock.append(protocol.patience is not None)

        protocol.connection_made(transport)
        ticks()  # for the first request
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        ticks()  # it is worked on
        may_answer.set()
        while not protocol.cycle.response_complete:
            await asyncio.sleep(0)
        ticks()  # nothing is begun
        protocol.pause_writing()
        ticks()  # the answer is not taken
        protocol.resume_writing()
        ticks()  # it is
        protocol.data_received(b"GET / HT")
        ticks()  # half a request
        protocol.connection_lost(None)
        ticks()
        return clock

    with ThreadPoolExecutor(1) as aside:  # a browser that tests keep open has a loop of its own on the main thread
        clock = aside.submit(asyncio.run, course()).result()
    assert clock == [True, False, False, True, False, True, False]


# --- what requests can hold of each other's --------------------------------------------------------------------------


def test_senders_that_are_slow_take_no_place_of_those_that_are_judged(decoded):
    begun = POST + b"Content-Length: 9\r\n\r\nhalf"
    with serving(requests=1) as port, sent(port, begun) as one, sent(port, begun):
        assert asked(port, body=b"whole") == 200
        one.sendall(b" more")
        assert one.recv(100).startswith(b"HTTP/1.1 200")


def test_bytes_that_are_held_for_slow_senders_are_bounded(decoded):
    with serving(requests=1, body=100_000) as port:
        with sent(port, POST + b"Content-Length: 90000\r\n\r\n" + 80_000 * b"x"):
            wait_until(lambda: asked(port, body=30_000 * b"x") == 503)
            assert asked(port, body=b"x") == 200
        wait_until(lambda: asked(port, body=30_000 * b"x") == 200)


def test_a_request_that_takes_too_long_ends_and_what_it_had_not_begun_is_not_done(decoded):
    begun, gate = decoded
    with serving(seconds=0.5) as port:
        assert asked(port, **in_form(*(b"wait %d" % n for n in range(20)))) == 504
        gate.set()
        wait_until(lambda: asked(port, body=b"other") == 200)
        assert len([content for content in begun if content.startswith(b"wait")]) <= 2


def test_whoever_goes_away_leaves_his_place_and_what_was_not_begun_for_him_is_not_done(decoded):
    begun, gate = decoded
    with serving(requests=1) as port:
        body = in_form(*(b"wait %d" % n for n in range(20)))["body"]
        head = POST.replace(b"image/png", b"multipart/form-data; boundary=edge")
        with sent(port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body):
            wait_until(lambda: begun)
            assert asked(port, body=b"other") == 503
        wait_until(lambda: b'requests_total{code="499"} 1' in metrics(port))
        gate.set()
        assert asked(port, body=b"other") == 200
    assert len([content for content in begun if content.startswith(b"wait")]) <= 2


def test_images_that_wait_to_be_decoded_are_bounded(decoded):
    begun, gate = decoded
    with serving(waiting=4) as port, beside(port, **in_form(b"wait 1", b"wait 2", b"wait 3")) as status:
        wait_until(lambda: begun)
        assert asked(port, **in_form(b"4", b"5")) == 503
        gate.set()
        wait_until(lambda: status == [200])
        assert asked(port, **in_form(b"4", b"5")) == 200


def test_a_request_of_many_images_leaves_the_others_their_turn(decoded):
    begun, gate = decoded
    with serving() as port, beside(port, **in_form(*(b"wait %d" % n for n in range(20)))) as status:
        wait_until(lambda: len(begun) == 2)
        with beside(port, body=b"other") as other:
            wait_until(lambda: b"anchorscope_images_waiting 21" in metrics(port))
            gate.set()
            wait_until(lambda: status and other)
    assert begun.index(b"other") < 6 and status == other == [200]


def metrics(port) -> bytes:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()


def test_json_is_taken_apart_while_others_are_answered(decoded, monkeypatch):
    begun, gate, taken = threading.Event(), threading.Event(), service._in_json

    def slowly(*arguments):
        begun.set()
        assert gate.wait(LONG)
        return taken(*arguments)

    monkeypatch.setattr(service, "_in_json", slowly)
    with serving() as port, beside(port, **in_json(b"1")) as status:
        assert begun.wait(LONG) and asked(port, "GET", "/health") == 200 and not status
        gate.set()
    assert status == [200]


def test_json_of_too_many_values_is_refused_before_it_is_taken_apart(decoded):
    """The time that this takes would be everybody's."""
    said = json.loads(in_json(b"1")["body"]) | {"more": [0] * service.VALUES}
    with serving() as port:
        assert asked(port, body=json.dumps(said), kind="application/json") == 400


@pytest.mark.parametrize("kind", ["json", "form"])
def test_names_that_are_no_text_can_be_answered(decoded, kind):
    given = in_json(b"1", name="\ud800.png")
    if kind == "form":
        given = in_form(b"1", name=rb"\ud800.png", more="; charset=unicode_escape")
    with serving() as port:
        assert asked(port, **given, answer=(answer := [])) == 200
    assert answer[0]["results"][0]["file"] == "\\ud800.png"


@pytest.mark.parametrize("charset", ["undefined", "punycode", "no-such"])
def test_a_form_in_letters_that_there_are_not_is_no_failure(decoded, charset):
    with serving() as port:
        assert asked(port, **in_form(b"1", name=b"\xff.png", more=f"; charset={charset}")) in (200, 400)
