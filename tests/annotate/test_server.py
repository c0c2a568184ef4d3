"""What the page's server does with what it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lrjax.annotate.store import Store

pytest.importorskip("starlette", reason="starlette is not installed (lrjax[serve])")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (lrjax[serve])")
pytest.importorskip("httpx2", reason="httpx2, which starlette's TestClient needs, is not installed")

from starlette.testclient import TestClient

from lrjax.annotate import server
from lrjax.web.server import make_app

TOKEN, HOST = "secret-token", "127.0.0.1:8000"
POINTS = [[5.0, 8.0], [14.0, 8.5], [-1, -1], [6.0, 18.0], [13.0, 18.5]]


@pytest.fixture
def store(tmp_path: Path, make_faces: Callable) -> Store:
    start = np.array([[25, 18], [34, 18], [30, 22], [26, 28], [33, 28]], np.float64)
    return Store(tmp_path, make_faces(tmp_path, start))


@pytest.fixture
def client(store: Store) -> TestClient:
    return TestClient(make_app(server.site(store), TOKEN, [HOST]), base_url=f"http://{HOST}")


def at(path: str, annotator: str = "Ann") -> str:
    return f"/{TOKEN}/{path}?annotator={annotator}"


def test_points_are_saved_and_there_again(client: TestClient, store: Store) -> None:
    found = client.get(at("faces/0")).json()
    assert found == {
        "file": "a b.png_20_10_20_24.png",
        "source": "a b.png",
        "size": [20, 24],
        "frame": [-8, -8, 36, 40],
        "start": [[5, 8], [14, 8], [10, 12], [6, 18], [13, 18]],
        "points": None,
    }
    assert client.put(at("faces/0"), json=POINTS).json()["points"] == POINTS
    assert client.get(at("faces/0")).json()["points"] == POINTS
    assert client.get(at("faces/0", "Bo")).json()["points"] is None
    assert Store(store.folder, store.faces).points(store.faces[0], "Ann").tolist() == POINTS
    client.put(at("faces/0", "Bo"), json=[[5, 13], *POINTS[1:]])
    state = client.get(at("faces")).json()
    assert (state["count"], state["done"]) == (3, [0])
    assert state["annotators"] == {"Ann": 1, "Bo": 1}
    (pair,) = state["agreement"]
    assert pair["distance"] == pytest.approx(5 / 4 / np.sqrt(480))
    assert client.delete(at("faces/0")).json()["points"] is None
    assert client.get(at("faces")).json()["done"] == []
    assert client.get(at("faces/0/picture")).content == store.faces[0].shown


def test_the_page_fetches_nothing_from_elsewhere(client: TestClient) -> None:
    for name, kind in server.PAGE.items():
        answer = client.get(f"/{TOKEN}/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")


@pytest.mark.parametrize(
    "path",
    [
        "../annotations.csv",
        "%2e%2e/annotations.csv",
        "faces/..%2f..%2fannotations.csv",
        "annotations.csv",
        "server.py",
        "faces/a b.png",
        "faces/-1",
        "faces/3",
        "faces/3/picture",
        f"faces/{'9' * 5000}",
        "faces/0/",
    ],
)
def test_nothing_asked_for_is_a_file(client: TestClient, store: Store, path: str) -> None:
    store.save(store.faces[0], "Ann", np.array(POINTS))
    assert client.get(at(path), follow_redirects=False).status_code == 404


def test_requests_are_of_bounded_length(client: TestClient, store: Store) -> None:
    long = json.dumps(POINTS) + " " * server.LARGEST
    assert client.put(at("faces/0"), content=long).status_code == 413
    parts = iter([json.dumps(POINTS).encode(), b" " * server.LARGEST])
    assert client.put(at("faces/0"), content=parts).status_code == 413
    for length in ("-1", "1e9", "9" * 30):
        assert client.get(at("faces"), headers={"content-length": length}).status_code == 413
    assert store.annotators == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "The request is not JSON"),
        ("[" * 4000, "The request is not JSON"),
        ("\xff", "The request is not JSON"),
        ("[" + "[1,2]," * 4 + "[NaN, 1]]", "The request is not JSON"),
        ("[" + "[1,2]," * 4 + "[1e999, 1]]", "The request is not JSON"),
        ("{}", "A face has 5 points"),
    ],
)
def test_what_are_no_points_is_one_sentence(
    client: TestClient, store: Store, body: str, message: str
) -> None:
    answer = client.put(at("faces/0"), content=body.encode("latin-1"))
    assert answer.status_code == 400
    assert answer.text.startswith(message)
    assert store.annotators == []


def test_annotators_need_a_name(client: TestClient) -> None:
    assert client.put(at("faces/0", "a,b"), json=POINTS).status_code == 400
    assert client.get(f"/{TOKEN}/faces").status_code == 400


def test_a_full_disk_is_said(
    client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = client.put(at("faces/0"), json=POINTS)
    assert (answer.status_code, "No space left" in answer.text) == (507, True)
    assert store.annotators == []
