"""Who is let in by a page's server."""

from __future__ import annotations

import dataclasses

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
