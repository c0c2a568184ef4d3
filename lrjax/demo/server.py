"""What the page to try, and other programs, ask for: landmarks, comparisons, and what they are."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lrjax.demo.engine import MOST_FACES, BusyError, Engine, Seen, TooManyFacesError
from lrjax.demo.example import example
from lrjax.demo.openapi import describe, render_docs
from lrjax.errors import InputError
from lrjax.geometry.points import SCHEMES
from lrjax.inference.images import open_image
from lrjax.inference.landmarks import DOUBTFUL, FIVE_OF_68
from lrjax.report.draw import encode_png
from lrjax.web.forms import read_fields
from lrjax.web.server import HTML, SCRIPT, STYLE, Site, content_route, file_routes

LARGEST = 16 * 2**20
"""Bytes of the largest request body."""

MOST_PIXELS = 50_000_000
"""Of a picture: what phones take."""

LONGEST_BOXES = 1 << 16
"""Bytes of the boxes of a picture: so many faces as there may be take half of it."""

RETRY = 5
"""Seconds after which to come again where there is no answer yet."""

PAGE = {
    "": HTML,
    "page.css": STYLE,
    "page.js": SCRIPT,
    "view.js": SCRIPT,
    "docs.css": STYLE,
    "docs.js": SCRIPT,
}

NO_ENCODER = (
    "Comparing faces needs a face encoder; start the program again with --encoder WEIGHTS, a file "
    "of lrjax convert or a run of lrjax train recognition."
)


def site(engine: Engine) -> Site:
    """Make the page and the API of an engine."""
    endpoints = _Endpoints(engine)
    limits = {"bytes": LARGEST, "pixels": MOST_PIXELS, "faces": MOST_FACES}
    api = describe(endpoints.schemes, limits, NO_ENCODER)
    routes = [
        *file_routes(Path(__file__).parent, PAGE),
        content_route("openapi.json", json.dumps(api, indent=1).encode(), "application/json"),
        content_route("docs", render_docs(api).encode(), HTML),
        Route("/example.png", endpoints.example),
        Route("/state", endpoints.state),
        Route("/predict", endpoints.predict, methods=["POST"]),
        Route("/compare", endpoints.compare, methods=["POST"]),
    ]
    handlers = {BusyError: _busy, TooManyFacesError: _too_many, Exception: _broken}
    return Site(routes, LARGEST, _refusal, handlers)


class _Endpoints:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.schemes = ["native", *(n for n in (*SCHEMES, FIVE_OF_68) if _given(engine, n))]

    async def state(self, request: Request) -> Response:
        """Whether pictures can be looked at, and what there is."""
        engine = self.engine
        state = {
            "ready": engine.doing is None and engine.problem is None,
            "doing": engine.doing,
            "problem": engine.problem,
            "seconds": round(engine.seconds, 1),
            "points": self.schemes,
            "encoder": None if engine.encoder is None else engine.encoder.name,
            "needed": NO_ENCODER if engine.encoder is None else None,
            "limits": {"bytes": LARGEST, "pixels": MOST_PIXELS, "faces": MOST_FACES},
        }
        return JSONResponse(state)

    async def example(self, request: Request) -> Response:
        """A picture to try."""
        return Response(await run_in_threadpool(example), media_type="image/png")

    async def predict(self, request: Request) -> Response:
        """Landmarks of the faces in a picture."""
        begun = time.monotonic()
        fields = await read_fields(request, LARGEST, "picture")
        _check_names(fields, ("picture", "boxes", "points", "aligned"))
        points = fields.get("points", b"five").decode(errors="replace")
        if points not in self.schemes:
            raise InputError(f"The points {points!r} are none of {', '.join(self.schemes)}.")
        show = _flag(fields, "aligned")
        seen = await self._look(fields, "picture", "boxes")
        answer = {
            "width": seen.size[0],
            "height": seen.size[1],
            "faces": _faces(seen, points, show),
            "seconds": round(time.monotonic() - begun, 3),
        }
        return JSONResponse(answer)

    async def compare(self, request: Request) -> Response:
        """How alike the faces of two pictures are to the encoder."""
        if self.engine.encoder is None:
            raise HTTPException(404, NO_ENCODER)
        fields = await read_fields(request, LARGEST, "first")
        _check_names(fields, ("first", "second", "first_box", "second_box"))
        names = ("first", "second")
        looks = [self._look(fields, name, f"{name}_box", encode=True) for name in names]
        both = await asyncio.gather(*looks)
        for name, seen in zip(names, both, strict=True):
            if not len(seen.faces):
                raise InputError(f"There is no face in the {name} picture; send its box.")
        one, other = (_unit(seen) for seen in both)
        faces = {name: _faces(s, "five", True)[0] for name, s in zip(names, both, strict=True)}
        return JSONResponse({"similarity": round(float(one @ other), 4), **faces})

    async def _look(
        self, fields: dict[str, bytes], name: str, boxes: str, encode: bool = False
    ) -> Seen:
        """What is seen in a picture that was sent."""
        if not fields.get(name):
            raise InputError(f"There is no {name}; send an image file as the field {name!r}.")
        image = open_image(fields[name], name if name == "picture" else f"{name} picture")
        if image.width * image.height > MOST_PIXELS:
            raise HTTPException(
                413,
                f"The {name} has {image.width}x{image.height} pixels; send at most "
                f"{MOST_PIXELS:,} in all.",
            )
        if self.engine.problem is not None:
            raise HTTPException(500, self.engine.problem)
        given = _boxes(fields[boxes], boxes) if boxes in fields else None
        return await asyncio.wrap_future(self.engine.look(image, given, encode))


def _given(engine: Engine, points: str) -> bool:
    try:
        engine.predictor.scheme_of(points)
    except InputError:
        return False
    return True


def _faces(seen: Seen, points: str, show: bool) -> list[dict[str, Any]]:
    """The faces, as they are sent."""
    faces = seen.faces.converted(points)
    return [
        {
            "box": [round(value, 2) for value in faces.boxes[i].tolist()],
            "detector_confidence": None if seen.found is None else round(float(seen.found[i]), 4),
            "confidence": round(float(faces.confidence[i]), 4),
            "doubtful": bool(faces.confidence[i] < DOUBTFUL),
            "landmarks": {
                name: {"x": round(float(x), 2), "y": round(float(y), 2), "confidence": sure}
                for name, (x, y), sure in zip(
                    faces.scheme.names,
                    faces.points[i],
                    faces.point_confidence[i].round(4).tolist(),
                    strict=True,
                )
            },
            "aligned": _data_uri(seen.aligned.images[i]) if show else None,
        }
        for i in range(len(faces))
    ]


def _data_uri(image: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"


def _unit(seen: Seen) -> np.ndarray:
    assert seen.features is not None
    feature = seen.features[0]
    return feature / max(float(np.linalg.norm(feature)), 1e-12)


def _check_names(fields: dict[str, bytes], known: tuple[str, ...]) -> None:
    for name in fields:
        if name not in known:
            raise InputError(f"There is no field {name!r}; there are {', '.join(known)}.")


def _flag(fields: dict[str, bytes], name: str) -> bool:
    value = fields.get(name, b"false")
    if value not in (b"true", b"false"):
        raise InputError(f"The field {name!r} is neither true nor false.")
    return value == b"true"


def _boxes(text: bytes, name: str) -> np.ndarray:
    """Read [[x, y, w, h], ...], or one box; the numbers are checked against the picture later."""
    if len(text) > LONGEST_BOXES:  # nobody is answered while it is read
        raise TooManyFacesError(
            f"The field {name!r} has {len(text):,} bytes; send boxes of at most {MOST_FACES} faces."
        )
    try:
        values = json.loads(text)
        boxes = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        boxes = np.zeros(0)
    if not boxes.size or boxes.ndim not in (1, 2) or boxes.shape[-1] != 4:
        raise InputError(f"The field {name!r} is no list of boxes; send [[x, y, w, h], ...].")
    return boxes.reshape(-1, 4)


def _refusal(sentence: str, status: int) -> Response:
    return JSONResponse({"error": sentence}, status)


async def _busy(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503, {"Retry-After": str(RETRY)})


async def _too_many(request: Request, error: Exception) -> Response:
    return _refusal(str(error), 413)


async def _broken(request: Request, error: Exception) -> Response:
    return _refusal("Something is wrong in the program; its terminal says what.", 500)
