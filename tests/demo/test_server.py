"""What programs are answered, and whether it is what the description says."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import drawn
import numpy as np
import pytest
from PIL import Image
from tiny import network_file

from lrjax.demo.engine import Engine
from lrjax.geometry.points import FIVE, IBUG68
from lrjax.geometry.templates import TEMPLATES
from lrjax.inference.alignment import align_faces
from lrjax.inference.encoder import FaceEncoder
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.models.encoders import EncoderConfig

pytest.importorskip("starlette", reason="starlette is not installed (lrjax[serve])")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (lrjax[serve])")
pytest.importorskip("httpx2", reason="httpx2, which starlette's TestClient needs, is not installed")

from starlette.testclient import TestClient

from lrjax.demo import server
from lrjax.web.server import make_app

pytestmark = pytest.mark.usefixtures("quick_compile")

TOKEN, HOST = "secret-token", "127.0.0.1:8000"


def client_of(engine: Engine) -> TestClient:
    app = make_app(server.site(engine), TOKEN, [HOST])
    return TestClient(app, base_url=f"http://{HOST}/{TOKEN}/", raise_server_exceptions=False)


@pytest.fixture
def client(engine: Engine) -> TestClient:
    return client_of(engine)


def conforms(value: object, schema: dict, api: dict) -> bool:
    """Whether a value is what a schema says, of the parts of JSON Schema that are used here."""
    if "$ref" in schema:
        return conforms(value, api["components"]["schemas"][schema["$ref"].split("/")[-1]], api)
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "integer": int,
        "number": (int, float),
    }
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if not any(isinstance(value, kinds[name]) for name in types):
        return False
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema["additionalProperties"]
        if not set(schema.get("required", ())) <= set(value):
            return False
        known = all(conforms(v, properties[k], api) for k, v in value.items() if k in properties)
        rest = [v for k, v in value.items() if k not in properties]
        return known and (not rest if more is False else all(conforms(v, more, api) for v in rest))
    if isinstance(value, list):
        short, long = schema.get("minItems", 0), schema.get("maxItems", len(value))
        return short <= len(value) <= long and all(conforms(v, schema["items"], api) for v in value)
    if isinstance(value, int | float):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    return True


def check(client: TestClient, answer, path: str, method: str = "post") -> dict:
    """The answer as JSON, which the description promises for its status."""
    api = client.get("openapi.json").json()
    promised = api["paths"][path][method]["responses"][str(answer.status_code)]
    assert conforms(answer.json(), promised["content"]["application/json"]["schema"], api)
    return answer.json()


def test_landmarks_have_names(client: TestClient, engine: Engine, crowd: bytes) -> None:
    answer = client.post("predict", content=crowd, headers={"content-type": "image/png"})
    found = check(client, answer, "/predict")
    photo, boxes = drawn.crowd()
    assert (found["width"], found["height"]) == photo.size
    expected = LandmarkPredictor(engine.predictor.weights)(photo, boxes, "five")
    assert len(found["faces"]) == 3
    for i, face in enumerate(found["faces"]):
        np.testing.assert_allclose(face["box"], boxes[i], atol=0.006)
        assert tuple(face["landmarks"]) == FIVE.names
        points = [(p["x"], p["y"]) for p in face["landmarks"].values()]
        np.testing.assert_allclose(points, expected.points[i], atol=0.006)
        np.testing.assert_allclose(face["confidence"], expected.confidence[i], atol=1e-3)
        assert face["doubtful"] == (expected.confidence[i] < 0.5)
        assert face["detector_confidence"] == pytest.approx(0.9 - 0.05 * i, abs=1e-4)
        assert face["aligned"] is None


def test_a_form_is_as_good_as_a_body(client: TestClient, crowd: bytes) -> None:
    boxes = json.dumps(drawn.crowd()[1][:2].tolist())
    words = {"boxes": boxes, "points": "ibug68", "aligned": "true"}
    form = client.post("predict", files={"picture": ("a.png", crowd)}, data=words)
    bare = client.post("predict", content=crowd, params=words)
    one, other = (check(client, answer, "/predict")["faces"] for answer in (form, bare))
    assert one == other
    assert [tuple(face["landmarks"]) for face in one] == [IBUG68.names] * 2
    assert [face["detector_confidence"] for face in one] == [None] * 2


def test_aligned_faces_are_sent(client: TestClient, crowd: bytes) -> None:
    photo, boxes = drawn.crowd()
    answer = client.post("predict?aligned=true", content=crowd)
    for box, face in zip(boxes, check(client, answer, "/predict")["faces"], strict=True):
        kind, _, text = face["aligned"].partition(",")
        assert kind == "data:image/png;base64"
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), int)
        points = np.array([[(p["x"], p["y"]) for p in face["landmarks"].values()]])
        seen = np.ones((1, 5), bool)
        template = TEMPLATES["arcface112"]
        expected = align_faces([photo], points, seen, template, boxes=box[None]).images[0]
        assert np.abs(shown - expected).mean() < 1


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({}, 400, "There is no picture; send an image file"),
        ({"picture": b"GIF89a"}, 400, "The image picture cannot be decoded"),
        ({"picture": b"%!PS-Adobe-3.0\n(x) show"}, 400, "cannot be decoded"),
        ({"boxes": "[[1, 2, 3]]"}, 400, "no list of boxes; send [[x, y, w, h], ...]"),
        ({"boxes": "[" * 10_000}, 400, "no list of boxes"),
        ({"boxes": "[" * 100_000}, 413, "has 100,000 bytes; send boxes of at most 256 faces"),
        ({"boxes": "[[1, 2, 3, 1e999]]"}, 400, "the box is not finite"),
        ({"boxes": "[[1, 2, 3, 0]]"}, 400, "the box has no area"),
        ({"boxes": "[[9999, 2, 3, 4]]"}, 400, "the box lies outside the image"),
        ({"boxes": "[[1, 2, 3, " + "9" * 5000 + "]]"}, 400, "no list of boxes"),
        ({"boxes": json.dumps([[1, 2, 3, 4]] * 257)}, 413, "257 faces; send a part of it"),
        ({"points": "six"}, 400, "The points 'six' are none of native, ibug68"),
        ({"aligned": "yes"}, 400, "neither true nor false"),
        ({"box": "[]"}, 400, "There is no field 'box'; there are picture, boxes"),
        ({"picture": None}, 413, "has 8000x8000 pixels; send at most 50,000,000 in all"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    client: TestClient, engine: Engine, crowd: bytes, fields, status, message
) -> None:
    fields = {"picture": crowd} | fields if fields else {"points": "five"}
    if fields.get("picture", b"") is None:
        large = io.BytesIO()
        Image.new("1", (8000, 8000)).save(large, "PNG")
        fields["picture"] = large.getvalue()
    files = {k: v for k, v in fields.items() if k == "picture"}
    data = {k: v for k, v in fields.items() if k != "picture"}
    answer = client.post("predict", files=files or {"points": b"five"}, data=files and data)
    assert answer.status_code == status
    assert message in check(client, answer, "/predict")["error"]
    assert "\n" not in answer.json()["error"]
    assert engine.predictor.shown == []


def test_what_is_too_long_is_not_read(
    client: TestClient, crowd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.post("predict", content=b"x" * (server.LARGEST + 1))
    assert answer.status_code == 413
    assert "at most 16,777,216 bytes" in check(client, answer, "/predict")["error"]
    monkeypatch.setattr("lrjax.demo.engine.MOST_FACES", 2)
    answer = client.post("predict", content=crowd)
    assert (answer.status_code, "has 3 faces" in answer.json()["error"]) == (413, True)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("nowhere", "GET", 404),
        ("../server.py", "GET", 404),
        ("..%2fserver.py", "GET", 404),
        ("%2e%2e/%2e%2e/etc/passwd", "GET", 404),
        ("server.py", "GET", 404),
        ("docs.html.jinja", "GET", 404),
        ("page.html", "GET", 404),
        ("predict", "GET", 405),
        ("state", "POST", 405),
    ],
)
def test_errors_are_all_json(client: TestClient, path: str, method: str, status: int) -> None:
    answer = client.request(method, f"http://{HOST}/{TOKEN}/{path}")
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_nobody_else_is_let_in(client: TestClient, engine: Engine, crowd: bytes) -> None:
    for path in ("/predict", "/wrong/predict", f"/{TOKEN}x/predict"):
        answer = client.post(f"http://{HOST}{path}", content=crowd)
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
    answer = client.post("predict", content=crowd, headers={"host": "evil.example"})
    assert (answer.status_code, list(answer.json())) == (421, ["error"])
    assert engine.predictor.shown == []


def test_before_it_is_ready_it_says_so(make_engine: Callable[..., Engine], crowd: bytes) -> None:
    engine = make_engine()  # does not run
    client = client_of(engine)
    answer = client.post("predict", content=crowd)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "The networks are not ready (starting" in check(client, answer, "/predict")["error"]
    state = check(client, client.get("state"), "/state", "get")
    assert (state["ready"], state["doing"], state["problem"]) == (False, "starting", None)
    engine.doing, engine.problem = None, "It cannot be."
    answer = client.post("predict", content=crowd)
    assert (answer.status_code, answer.json()) == (500, {"error": "It cannot be."})
    state = check(client, client.get("state"), "/state", "get")
    assert (state["ready"], state["doing"], state["problem"]) == (False, None, "It cannot be.")


def test_what_goes_wrong_inside_is_no_traceback(
    client: TestClient, engine: Engine, crowd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.predictor, "predict", lambda *given: 1 / 0)
    answer = client.post("predict", content=crowd)
    assert answer.status_code == 500
    assert answer.json() == {"error": "Something is wrong in the program; its terminal says what."}
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    monkeypatch.undo()
    assert client.post("predict", content=crowd).status_code == 200


def test_comparing_needs_an_encoder(client: TestClient, crowd: bytes) -> None:
    answer = client.post("compare", files={"first": crowd, "second": crowd})
    assert answer.status_code == 404
    assert "--encoder WEIGHTS" in check(client, answer, "/compare")["error"]
    state = check(client, client.get("state"), "/state", "get")
    assert (state["ready"], state["doing"], state["encoder"]) == (True, None, None)
    assert state["needed"] == answer.json()["error"]


@pytest.fixture
def encoder(tmp_path: Path) -> FaceEncoder:
    config = EncoderConfig("mobilefacenet", 0.125)
    return FaceEncoder.load(network_file(tmp_path / "encoder.safetensors", config))


@pytest.fixture
def comparing(make_engine: Callable[..., Engine], encoder: FaceEncoder) -> Iterator[TestClient]:
    with make_engine(encoder) as engine:
        yield client_of(engine.wait())


def test_faces_are_compared(comparing: TestClient, encoder: FaceEncoder, crowd: bytes) -> None:
    boxes = drawn.crowd()[1]
    files = {"first": crowd, "second": crowd}
    box = {"second_box": json.dumps(boxes[2].tolist())}
    found = check(comparing, comparing.post("compare", files=files, data=box), "/compare")
    features = []
    for face in (found["first"], found["second"]):
        data = base64.b64decode(face["aligned"].partition(",")[2])
        feature = encoder.embed(np.asarray(Image.open(io.BytesIO(data)))[None], batch=2)[0]
        features.append(feature / np.linalg.norm(feature))
    assert found["similarity"] == pytest.approx(float(features[0] @ features[1]), abs=1e-3)
    # Without a box, the surest face counts.
    np.testing.assert_allclose(found["first"]["box"], boxes[0], atol=0.006)
    np.testing.assert_allclose(found["second"]["box"], boxes[2], atol=0.006)
    same = comparing.post("compare", files=files).json()
    assert same["similarity"] == pytest.approx(1, abs=1e-4)
    answer = comparing.post("compare", files={"first": crowd})
    assert "There is no second; send an image" in check(comparing, answer, "/compare")["error"]


def test_the_page_fetches_nothing_from_elsewhere(client: TestClient) -> None:
    for name, kind in {
        **server.PAGE,
        "base.css": "text/css",
        "svg.js": "text/javascript",
        "docs": "text/html",
    }.items():
        answer = client.get(name)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        text = answer.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
        assert "//" not in text


def test_everything_is_described(client: TestClient, engine: Engine) -> None:
    api = client.get("openapi.json").json()
    assert api["openapi"].startswith("3.1")
    routes = {r.path: r.methods - {"HEAD"} for r in server.site(engine).routes}
    files = {f"/{name}" for name in (*server.PAGE, "base.css", "svg.js", "example.png", "docs")}
    described = {path: {m.upper() for m in calls} for path, calls in api["paths"].items()}
    assert described == {p: m for p, m in routes.items() if p not in {*files, "/openapi.json"}}
    page = client.get("docs").text
    for path, calls in api["paths"].items():
        assert f"<code>{path}</code>" in page
        for call in calls.values():
            assert call["summary"] in page
    for name in api["components"]["schemas"]:
        assert f'id="{name}"' in page


def test_the_example_is_a_picture(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "example", lambda: b"png")
    answer = client.get("example.png")
    assert (answer.content, answer.headers["content-type"]) == (b"png", "image/png")
