"""The service, by real requests to a real server: verdicts as predict's, its limits, broken clients, stopping."""

import base64
import contextlib
import http.client
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cac_core import recipe
from cac_core.__main__ import main
from cac_core.results import judge
from cac_core.serving import service
from cac_core.training import loop
from tests.waiting import LONG, wait_until

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
TOKEN = "a-token"


def picture(seed: int, side: int = 20) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def run(place):
    given = recipe.compose("quick", {}, dataset="digits", epochs=1, batch=128)
    return loop.train(given, place / "runs", place / "data", device="cpu")


@contextlib.contextmanager
def serving(place, *words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--runs", str(place / "runs"), "--data", str(place / "data"), "--port", str(port)]
    log = place / f"{port}.log"
    with open(log, "w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "cac_core", "serve", *map(str, words), *where], cwd=ROOT, stderr=said, stdout=said
        )

    def ready() -> bool:
        with contextlib.suppress(OSError):
            return asked(port, "GET", "/ready")[0] == 200
        return False

    try:
        wait_until(lambda: ready() or process.poll() is not None, "it does not answer")
        assert process.poll() is None, log.read_text()
        yield process, port
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("spoilt", [b"", b"junk"])
def test_a_network_that_cannot_be_loaded_ends_the_service_with_the_reason(place, run, spoilt):
    copy = place / "runs" / f"spoilt-{len(spoilt)}"
    shutil.copytree(run.path, copy)
    (copy / "best.safetensors").write_bytes(spoilt)
    with pytest.raises(AssertionError, match=r"best.safetensors is damaged"), serving(place, copy.name):
        pass


@pytest.fixture(scope="module")
def port(place, run):
    (place / "token").write_text(TOKEN + "\n")
    with serving(place, run.id, "--token-file", place / "token", "--device", "cpu") as (_, port):
        yield port


def asked(port, method, path, body=None, **headers) -> tuple[int, dict | str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
    try:
        named = {"Authorization": f"Bearer {TOKEN}"} | {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body, {k: v for k, v in named.items() if v})
        answer = connection.getresponse()
        content = answer.read().decode()
        return answer.status, json.loads(content) if "json" in answer.headers["content-type"] else content
    finally:
        connection.close()


def form(files: list[tuple[str, bytes]]) -> tuple[bytes, str]:
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def test_every_way_of_sending_gives_predicts_verdict(place, run, port, tmp_path, capsys):
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(picture(n))
    files = [str(tmp_path / f"{n}.png") for n in range(3)]
    assert main(["predict", run.id, *files, "--json", "--runs", str(place / "runs"), "--data", str(place / "data"),
                 "--device", "cpu"]) == 0  # fmt: skip
    mine = json.loads(capsys.readouterr().out)["images"]
    body, kind = form([(f"{n}.png", picture(n)) for n in range(3)])
    encoded = {"images": [{"file": f"{n}.png", "data": base64.b64encode(picture(n)).decode()} for n in range(3)]}
    ways = [
        asked(port, "POST", "/v1/judge", body, Content_Type=kind),
        asked(port, "POST", "/v1/judge", json.dumps(encoded), Content_Type="application/json"),
    ]
    single = [asked(port, "POST", "/v1/judge", picture(n), Content_Type="image/png") for n in range(3)]
    for status, said in ways:
        assert status == 200 and said["run"] == run.id and len(said["version"]) == 12
        assert [one["file"] for one in said["results"]] == ["0.png", "1.png", "2.png"]
    for said in (ways[0][1]["results"], ways[1][1]["results"], [one["results"][0] for _, one in single]):
        for theirs, one in zip(said, mine, strict=True):
            assert (theirs["decision"], theirs["label"], theirs["notes"]) == (
                one["decision"], one["label"], one["notes"]
            )  # fmt: skip
            assert theirs["score"] == pytest.approx(one["score"], rel=1e-4) and theirs["theta"] == one["theta"]
            assert theirs["gamma"] == pytest.approx(one["gamma"], rel=1e-4)


def test_an_image_that_cannot_be_read_is_one_result_of_several(port):
    body, kind = form([("a.png", picture(0)), ("b.zip", b"PK\x03\x04 no picture"), ("c.png", b"")])
    status, said = asked(port, "POST", "/v1/judge", body, Content_Type=kind)
    assert status == 200 and ["error" in one for one in said["results"]] == [False, True, True]
    assert asked(port, "POST", "/v1/judge", b"none", Content_Type="image/png")[0] == 422


@pytest.mark.parametrize(
    "status, body, headers",
    [
        (401, picture(0), {"Content_Type": "image/png", "Authorization": ""}),
        (401, picture(0), {"Content_Type": "image/png", "Authorization": "Bearer other"}),
        (400, b"", {"Content_Type": "image/png"}),
        (400, b"{", {"Content_Type": "application/json"}),
        (400, b"[" * 100_000, {"Content_Type": "application/json"}),
        (400, b'{"images": [{"data": "!"}]}', {"Content_Type": "application/json"}),
        (400, b'{"images": []}', {"Content_Type": "application/json"}),
        (400, b"no form", {"Content_Type": "multipart/form-data"}),
        (413, form([(f"{n}.png", b"x") for n in range(65)])[0], {"Content_Type": form([])[1]}),
        (413, b"", {"Content_Type": "image/png", "Content_Length": "2000000000"}),
        (415, b"text", {"Content_Type": "text/plain"}),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason(port, status, body, headers):
    got, said = asked(port, "POST", "/v1/judge", body, **headers)
    assert (got, bool(said["error"])) == (status, True)


def test_a_body_without_an_end_is_cut_off(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
    parts = (b"x" * 1_000_000 for _ in range(100))
    with contextlib.suppress(OSError):  # it closes while more is being sent
        connection.request("POST", "/v1/judge", parts, {"Authorization": f"Bearer {TOKEN}",
                                                        "Content-Type": "image/png"}, encode_chunked=True)  # fmt: skip
        assert connection.getresponse().status == 413
    connection.close()
    assert asked(port, "GET", "/health")[0] == 200


def test_a_body_of_2_gb_is_refused_and_not_taken(port):
    """By its length alone: whoever sends on finds the connection closed before much of it has gone out."""
    with socket.create_connection(("127.0.0.1", port), timeout=LONG) as client:
        client.sendall(f"POST /v1/judge HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
                       "Content-Type: image/png\r\nContent-Length: 2000000000\r\n\r\n".encode())  # fmt: skip
        sent, some = 0, b"x" * 1_000_000
        assert client.recv(100).startswith(b"HTTP/1.1 413")
        with contextlib.suppress(OSError):
            while sent < 2000:
                client.sendall(some)
                sent += 1
    assert sent < 100
    assert asked(port, "GET", "/health")[0] == 200


def test_it_says_what_it_is_and_counts(run, port):
    assert asked(port, "GET", "/v1/run")[1]["classes"] == run.known_names
    described = asked(port, "GET", "/openapi.json")[1]
    assert set(described["paths"]) == {"/v1/judge", "/v1/run", "/health", "/ready", "/metrics"}
    assert "curl" in asked(port, "GET", "/")[1]

    def counted() -> dict[str, float]:
        lines = asked(port, "GET", "/metrics")[1].splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#"}

    before = counted()
    asked(port, "POST", "/v1/judge", picture(5), Content_Type="image/png")
    after = counted()
    images = [name for name in after if name.startswith("anchorscope_images_total")]
    assert sum(after[name] for name in images) == sum(before.get(name, 0) for name in images) + 1
    ok = 'anchorscope_requests_total{code="200"}'
    assert after[ok] == before[ok] + 2 and after["anchorscope_request_seconds_count"] > 0
    assert after['anchorscope_request_seconds_bucket{le="+Inf"}'] == after["anchorscope_request_seconds_count"]


def test_many_at_once_each_get_their_own_answer(port):
    alone = [asked(port, "POST", "/v1/judge", picture(n), Content_Type="image/png")[1]["results"] for n in range(24)]
    together: list = [None] * 24

    def ask(n):
        together[n] = asked(port, "POST", "/v1/judge", picture(n), Content_Type="image/png")[1]["results"]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (one,), (other,) in zip(alone, together, strict=True):
        assert one["decision"] == other["decision"] and one["score"] == pytest.approx(other["score"], rel=1e-4)


def test_slow_and_broken_clients_stop_nobody(port):
    with contextlib.ExitStack() as stack:
        for begun in (b"", b"POST /v1/judge HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"POST /v1/judge HTTP/1.1\r\n"
                      b"Host: x\r\nContent-Type: image/png\r\nContent-Length: 500\r\n\r\n"):  # fmt: skip
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(begun)
        assert asked(port, "POST", "/v1/judge", picture(1), Content_Type="image/png")[0] == 200
    assert asked(port, "POST", "/v1/judge", picture(1), Content_Type="image/png")[0] == 200


def test_connections_beyond_the_bound_are_refused_politely(port):
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(service.Limits.connections + 20):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
        clients[-1].settimeout(LONG)
        assert clients[-1].recv(100).startswith(b"HTTP/1.1 503")
    wait_until(lambda: asked(port, "GET", "/health")[0] == 200)


def test_a_run_that_is_deleted_while_it_is_served_is_served_on(place, run, tmp_path):
    import shutil

    store = tmp_path / "runs"
    shutil.copytree(run.path, store / run.id)
    with serving(tmp_path, run.id) as (process, port):
        before = asked(port, "POST", "/v1/judge", picture(2), Content_Type="image/png")
        shutil.rmtree(store)
        assert asked(port, "POST", "/v1/judge", picture(2), Content_Type="image/png") == before
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) in (0, -signal.SIGTERM)


def test_a_run_that_is_rewritten_while_it_is_served_stays_what_it_was(place, run, tmp_path):
    import shutil

    store = tmp_path / "runs"
    shutil.copytree(run.path, store / run.id)
    with serving(tmp_path, run.id) as (_, port):
        before = asked(port, "POST", "/v1/judge", picture(2), Content_Type="image/png")
        for file in (store / run.id).rglob("*.*"):
            if file.is_file():
                file.write_bytes(b"written anew")
        assert asked(port, "POST", "/v1/judge", picture(2), Content_Type="image/png") == before
        assert asked(port, "GET", "/v1/run")[1]["version"] == before[1]["version"]


@pytest.mark.parametrize("command", ["score", "serve", "export"])
def test_a_threshold_of_another_run_is_refused(place, run, tmp_path, command, capsys):
    own = judge.threshold_of(run, "gamma", judge.scorer_options("gamma")).record(run)
    (tmp_path / "threshold.json").write_text(json.dumps(own | {"run": "another-run"}))
    (tmp_path / "a.png").write_bytes(picture(1))
    more = {
        "score": [str(tmp_path / "a.png")],
        "serve": ["--port", "0"],
        "export": ["--onnx", str(tmp_path / "n.onnx")],
    }
    assert main([command, run.id, *more[command], "--threshold", str(tmp_path / "threshold.json"), "--runs",
                 str(place / "runs"), "--data", str(place / "data"), "--device", "cpu"]) == 1  # fmt: skip
    assert "belongs to the run another-run" in capsys.readouterr().err and not (tmp_path / "n.onnx").exists()


def test_what_is_under_way_is_ended_before_it_stops(place, run):
    with serving(place, run.id) as (process, port):
        body, kind = form([(f"{n}.png", picture(n, 1500)) for n in range(12)])
        answers = []
        thread = threading.Thread(target=lambda: answers.append(asked(port, "POST", "/v1/judge", body,
                                                                      Content_Type=kind)))  # fmt: skip
        thread.start()
        wait_until(lambda: "anchorscope_requests_total" in asked(port, "GET", "/metrics")[1])
        process.send_signal(signal.SIGTERM)
        thread.join()
        process.wait(LONG)
    assert answers and answers[0][0] == 200 and len(answers[0][1]["results"]) == 12


def test_a_port_that_is_taken_and_a_token_that_is_none_are_said(place, run, tmp_path, capsys):
    where = ["--runs", str(place / "runs"), "--data", str(place / "data"), "--device", "cpu"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", run.id, "--port", str(taken.getsockname()[1]), *where]) == 1
    said = capsys.readouterr().err
    assert "Address already in use" in said and "judges at" not in said
    (tmp_path / "empty").touch()
    assert main(["serve", run.id, "--token-file", str(tmp_path / "empty"), *where]) == 1
    assert main(["serve", *where]) == 1
    said = capsys.readouterr().err
    assert "holds no token" in said and "one of the two" in said
