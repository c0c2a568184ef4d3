"""Forms are taken apart as they were put together."""

from __future__ import annotations

import numpy as np
import pytest

from lrjax.errors import InputError

pytest.importorskip("starlette", reason="starlette is not installed (lrjax[serve])")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (lrjax[serve])")
pytest.importorskip("httpx2", reason="httpx2, which starlette's TestClient needs, is not installed")

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lrjax.web import server
from lrjax.web.forms import MOST_PARTS, parse_form, read_fields

LARGEST = 1000


@pytest.fixture
def client() -> TestClient:
    """Sends back the fields that it reads, as Latin-1."""

    async def echo(request: Request) -> Response:
        fields = await read_fields(request, LARGEST, "picture")
        return JSONResponse({name: value.decode("latin-1") for name, value in fields.items()})

    site = server.Site([Route("/echo", echo, methods=["POST"])], LARGEST)
    app = server.make_app(site, "t", ["testserver"])
    return TestClient(app, base_url="http://testserver/t/")


def test_forms_of_clients_are_read(client: TestClient) -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        # Of few bytes, so that what looks like a boundary comes up.
        content = rng.choice(list(b"\r\n-a\0\xff"), rng.integers(0, 300)).astype(np.uint8).tobytes()
        files = {"picture": ('a"; name="b.jpg', content, "image/jpeg")}
        answer = client.post("echo?points=five", files=files, data={"boxes": "[[1, 2]]\r\n"})
        expected = {"points": "five", "picture": content.decode("latin-1"), "boxes": "[[1, 2]]\r\n"}
        assert answer.json() == expected


def test_a_bare_body_is_the_picture(client: TestClient) -> None:
    for kind in ("image/png", "application/x-www-form-urlencoded", "", "text/plain; boundary=x"):
        answer = client.post("echo", content=b"\xff\xd8", headers={"content-type": kind})
        assert answer.json() == {"picture": "ÿØ"}
    assert client.post("echo").json() == {}


def test_long_forms_are_refused(client: TestClient) -> None:
    assert client.post("echo", files={"picture": b" " * LARGEST}).status_code == 413


def test_what_is_around_the_parts_counts_for_nothing() -> None:
    body = (
        b'before\r\n--b \t\r\ncontent-disposition: form-data; name="x"\r\n\r\n1\r\n'
        b"--b\r\nX-Y: z\r\nContent-Disposition:form-data;name=y\r\n\r\n\r\n--b--\r\nafter"
    )
    assert parse_form(body, b"b") == {"x": b"1", "y": b""}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "cut off"),
        (b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1", "cut off"),
        (b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--b", "cut off"),
        (b"--b\r\nContent-Disposition: form-data; name=x\r\n1\r\n--b--", "without a name"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--", "without a name"),
        (b"--b\r\n\r\n1\r\n--b--", "without a name"),
        (2 * b"--b\r\nContent-Disposition: a; name=x\r\n\r\n1\r\n" + b"--b--", "of its own"),
        (9 * b"--b\r\nContent-Disposition: a; name=x\r\n\r\n1\r\n" + b"--b--", "more than 8"),
        (b"\r\n--b" * 100_000, "more than 8"),
    ],
)
def test_damaged_forms_are_one_sentence(body: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_form(body, b"b")


def test_as_many_fields_as_there_may_be() -> None:
    parts = b"".join(
        b"--b\r\nContent-Disposition: a; name=x%d\r\n\r\n1\r\n" % i for i in range(MOST_PARTS)
    )
    assert len(parse_form(parts + b"--b--", b"b")) == MOST_PARTS


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=é"])
def test_a_form_needs_a_boundary(client: TestClient, kind: str) -> None:
    answer = client.post("echo", content=b"x", headers={"content-type": kind.encode()})
    assert (answer.status_code, "names no boundary" in answer.text) == (400, True)
