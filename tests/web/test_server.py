"""Who is let in by a page's server."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lrjax.errors import InputError

pytest.importorskip("starlette", reason="starlette is not installed (lrjax[serve])")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (lrjax[serve])")
pytest.importorskip("httpx2", reason="httpx2, which starlette's TestClient needs, is not installed")

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lrjax.web import server

TOKEN, HOST = "secret-token", "127.0.0.1:8000"
LARGEST = 100


@pytest.fixture
def asked() -> list[bytes]:
    """What has reached the page."""
    return []


@pytest.fixture
def site(asked: list[bytes]) -> server.Site:
    async def echo(request: Request) -> Response:
        asked.append(await server.read_body(request, LARGEST))
        if asked[-1] == b"bad":
            raise InputError("It is bad; send another.")
        return PlainTextResponse(request.url.path)

    return server.Site([Route("/faces", echo, methods=["GET", "PUT"])], LARGEST)


@pytest.fixture
def client(site: server.Site) -> TestClient:
    return TestClient(server.make_app(site, TOKEN, [HOST]), base_url=f"http://{HOST}")


PROGRAM = """
import os, signal, sys, threading
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from lrjax.web import server

async def echo(request):
    body = await server.read_body(request, 1000)
    if body == b"big":
        return PlainTextResponse(b" " * 50_000_000)
    return PlainTextResponse(body)

server.PATIENCE, server.CONNECTIONS, server.FAREWELL = 0.4, 4, 1
site = server.Site([Route("/echo", echo, methods=["PUT", "GET"])], 1000)
with server.listen("127.0.0.1", 0) as there:
    print(there.getsockname()[1], flush=True)
    server.serve(site, "127.0.0.1", there, "t")
print("done")
"""


@dataclasses.dataclass
class Live:
    """A server in a process of its own, and raw connections to it."""

    process: subprocess.Popen[str]
    port: int

    def send(self, data: bytes) -> socket.socket:
        """Connect, and send what need be no request."""
        there = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        there.sendall(data)
        return there

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """The first lines of a request."""
        lines = (f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers, "", "")
        return "\r\n".join(lines).encode()

    def ask(self, data: bytes) -> bytes:
        """What is answered, without what comes after."""
        answer = b""
        with self.send(data) as there:
            while part := there.recv(1024):
                answer += part
                head, end, body = answer.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                if end and length and len(body) >= int(length[1]):
                    break
        return answer

    def stop(self) -> tuple[str, str]:
        """End it as Ctrl-C does: what it has said."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=20)


@pytest.fixture
def live() -> Iterator[Live]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        text=True,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as one:
        live = Live(one, int(one.stdout.readline()))
        limit = time.monotonic() + 20
        while not live.ask(live.head("GET", "/t/echo")).startswith(b"HTTP/1.1 200"):
            assert time.monotonic() < limit
        yield live
        one.kill()


def at(path: str) -> str:
    return f"/{TOKEN}/{path}"


def test_headers_keep_what_is_shown_here(client: TestClient) -> None:
    for path in (at("faces"), at("nowhere"), "/"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_requests_are_of_bounded_length(client: TestClient, asked: list[bytes]) -> None:
    assert client.put(at("faces"), content=b" " * LARGEST).status_code == 200
    del asked[:]
    assert client.put(at("faces"), content=b" " * (LARGEST + 1)).status_code == 413
    answer = client.put(at("faces"), content=iter([b" " * LARGEST, b" "]))
    assert (answer.status_code, "at most 100 bytes" in answer.text) == (413, True)
    for length in ("-1", "1e9", "9" * 30):
        assert client.get(at("faces"), headers={"content-length": length}).status_code == 413
    assert asked == []


def test_errors_are_written_as_the_site_writes_them(site: server.Site, client: TestClient) -> None:
    assert client.put(at("faces"), content=b"bad").text == "It is bad; send another."

    def refuse(sentence: str, status: int) -> Response:
        return JSONResponse({"error": sentence}, status)

    app = server.make_app(dataclasses.replace(site, refuse=refuse), TOKEN, [HOST])
    client = TestClient(app, base_url=f"http://{HOST}")
    answers = {
        400: client.put(at("faces"), content=b"bad"),
        404: client.get("/"),
        405: client.delete(at("faces")),
        413: client.put(at("faces"), content=b" " * (LARGEST + 1)),
        421: client.get(at("faces"), headers={"host": "evil.example"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert list(answer.json()) == ["error"]
    assert sorted(answers[405].headers["allow"].split(", ")) == ["GET", "HEAD", "PUT"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        f"/{TOKEN}",
        f"/{TOKEN[:-1]}/faces",
        f"/{TOKEN}x/faces",
        "/faces",
        "/page.js",
        f"/faces?token={TOKEN}",
        "/%C3%A9/faces",
        f"//{TOKEN}/faces",
    ],
)
def test_without_the_token_there_is_nothing(client: TestClient, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answer = client.request(method, path, follow_redirects=False)
        assert (answer.status_code, answer.text) == (404, "There is nothing here.")


def test_the_token_is_compared_in_constant_time(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr("secrets.compare_digest", compare)
    assert client.get(at("faces")).status_code == 404
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "", f"{HOST}.x"]
)
def test_another_host_is_refused(client: TestClient, asked: list[bytes], host: str) -> None:
    """As the browser sends it where a name of another site leads here (DNS rebinding)."""
    assert client.get(at("faces"), headers={"host": host}).status_code == 421
    assert client.put(at("faces"), headers={"host": host}).status_code == 421
    assert asked == []


def test_two_hosts_are_refused(client: TestClient) -> None:
    headers = [("host", HOST), ("host", "evil.example")]
    assert client.get(at("faces"), headers=headers).status_code == 421


def test_it_listens_to_this_machine() -> None:
    with server.listen("127.0.0.1", 0) as open_one:
        assert server.is_loopback(open_one)
        port = open_one.getsockname()[1]
        with pytest.raises(InputError, match=f"no page on 127.0.0.1, port {port}"):
            server.listen("127.0.0.1", port)
    for host in ("0.0.0.0", "::"):
        with pytest.raises(InputError, match="stands for every address"):
            server.listen(host, 0)
    for host, port in (("no.such.host.invalid", 0), ("127.0.0.1", 70000), ("127.0.0.1", -1)):
        with pytest.raises(InputError, match="name another --host or --port"):
            server.listen(host, port)


def test_hosts_are_those_that_browsers_send() -> None:
    assert server.hosts_of(["LocalHost", "::1"], 8000) == ["localhost:8000", "[::1]:8000"]
    # They leave out the port of HTTP.
    assert set(server.hosts_of(["::1", "a"], 80)) == {"[::1]:80", "a:80", "[::1]", "a"}


def test_the_shortest_form_of_an_address_is_a_host(
    site: server.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(server, "make_app", lambda site, token, hosts: made.append(hosts))
    monkeypatch.setattr(server.uvicorn.Server, "run", lambda self, sockets: None)
    with server.listen("0:0:0:0:0:0:0:1", 0) as there:
        server.serve(site, "0:0:0:0:0:0:0:1", there, TOKEN)
        port = there.getsockname()[1]
    assert f"[::1]:{port}" in made[0]
    monkeypatch.setattr(server, "is_loopback", lambda there: False)
    with server.listen("127.1", 0) as there:
        server.serve(site, "127.1", there, TOKEN)
        port = there.getsockname()[1]
    assert sorted(made[1]) == [f"127.0.0.1:{port}", f"127.1:{port}"]


def test_addresses_are_written_as_hosts_are() -> None:
    assert server.authority("LocalHost", 80) == "localhost:80"
    assert server.authority("::1", 80) == "[::1]:80"


def test_pages_of_other_sites_are_refused(client: TestClient, asked: list[bytes]) -> None:
    for origin in ("http://evil.example", "null", f"https://{HOST}", "http://127.0.0.1", ""):
        for method in ("GET", "PUT"):
            answer = client.request(method, at("faces"), headers={"origin": origin})
            assert (answer.status_code, answer.text.startswith("Pages of other")) == (403, True)
    assert client.put(at("faces"), headers=[("origin", f"http://{HOST}")] * 2).status_code == 200
    both = [("origin", f"http://{HOST}"), ("origin", "http://evil.example")]
    assert client.put(at("faces"), headers=both).status_code == 403
    # Who has no token is not told more.
    assert client.get("/", headers={"origin": "null"}).status_code == 404
    assert asked == [b""]


def test_paths_are_looked_up_and_never_files(live: Live) -> None:
    up = "../x", "..%2f..%2fetc/passwd", "%2e%2e/%2e%2e/etc/passwd", "echo/../echo", "echo/.."
    for path in (*up, "/etc/passwd", "%2fetc%2fpasswd", "echo%00", "echo/", "%zz%"):
        answer = live.ask(live.head("GET", f"/t/{path}"))
        assert answer.startswith(b"HTTP/1.1 404")
        assert answer.endswith(b"There is nothing here.")


def test_what_is_no_request_is_refused(live: Live) -> None:
    whole = "/t/echo"
    refused = {
        b"\x00\xff garbage\r\n\r\n": b"400",
        b"GET /t/echo HTTP/1.1\r\n\r\n": b"400",  # no Host
        b"GET /t/echo HTTP/1.0\r\n\r\n": b"421",
        live.head("PUT", whole, "Content-Length: 1", "Content-Length: 2"): b"400",
        live.head("PUT", whole, "Content-Length: 99999999999"): b"413",
        live.head("GET", f"http://evil.example{whole}"): b"404",
        live.head("OPTIONS", "*"): b"404",
        live.head("DELETE", whole): b"405",
    }
    for data, status in refused.items():
        assert live.ask(data).startswith(b"HTTP/1.1 " + status)
    chunk = b"fff\r\n" + b"a" * 0xFFF + b"\r\n"
    endless = live.head("PUT", whole, "Transfer-Encoding: chunked") + 20 * chunk
    assert live.ask(endless).startswith(b"HTTP/1.1 413")
    # The length that stands beside chunks counts for nothing, and hides no second request.
    both = live.head("PUT", whole, "Content-Length: 3", "Transfer-Encoding: chunked")
    assert live.ask(both + b"2\r\nab\r\n0\r\n\r\n").endswith(b"\r\n\r\nab")


def test_connections_that_send_nothing_end(live: Live) -> None:
    """Or a part of a request, or do not take the answer: others come to their turn."""
    begun = (
        b"",
        b"GET /t/ec",
        live.head("PUT", "/t/echo", "Content-Length: 9") + b"abc",
        live.head("PUT", "/t/echo", "Content-Length: 3") + b"big",
    )
    held = [live.send(data) for data in begun]
    time.sleep(0.2)
    assert live.ask(live.head("GET", "/t/echo")).startswith(b"HTTP/1.1 503")
    time.sleep(1.2)
    assert live.ask(live.head("GET", "/t/echo")).startswith(b"HTTP/1.1 200")
    for there in held:
        there.close()


def test_requests_that_follow_each_other_are_not_ended(live: Live) -> None:
    with live.send(b"") as there:
        for _ in range(15):
            there.sendall(live.head("GET", "/t/echo"))
            assert there.recv(1024).startswith(b"HTTP/1.1 200")
            time.sleep(0.1)


def test_a_request_broken_off_says_nothing(live: Live) -> None:
    live.send(live.head("PUT", "/t/echo", "Content-Length: 9") + b"abc").close()
    assert live.ask(live.head("GET", "/t/echo")).startswith(b"HTTP/1.1 200")
    assert live.stop() == ("done\n", "")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_ctrl_c_ends_in_the_middle_of_a_request(live: Live, method: str) -> None:
    with live.send(live.head(method, "/t/echo", "Content-Length: 9") + b"abc"):
        time.sleep(0.1)
        begun = time.monotonic()
        out, said = live.stop()
    assert (out, "Traceback" in said) == ("done\n", False)
    assert time.monotonic() - begun < 10
