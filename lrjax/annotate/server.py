"""What the page on which people annotate asks for.

Of a request a number of a face, an annotator's name and five points are read; none of them is ever
used as the name of a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lrjax.annotate.faces import Face
from lrjax.annotate.store import Store, check_annotator, read_points
from lrjax.errors import InputError
from lrjax.files import parse_json
from lrjax.web.server import HTML, SCRIPT, STYLE, Site, file_routes, read_body

LARGEST = 4096
"""Bytes of the largest request body: five points take 200."""

PAGE = {"": HTML, "page.css": STYLE, "page.js": SCRIPT, "view.js": SCRIPT}


def site(store: Store) -> Site:
    """Make the page of a store's faces and their points."""
    endpoints = _Endpoints(store)
    routes = [
        *file_routes(Path(__file__).parent, PAGE),
        Route("/faces", endpoints.faces),
        Route("/faces/{number}", endpoints.face, methods=["GET", "PUT", "DELETE"]),
        Route("/faces/{number}/picture", endpoints.picture),
    ]
    return Site(routes, LARGEST, handlers={OSError: _unwritten})


class _Endpoints:
    """What the page asks for."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def faces(self, request: Request) -> Response:
        """How many faces there are, which are done, and how far annotators agree."""
        annotator = _annotator(request)
        pairs = [
            {
                "annotators": pair.annotators,
                "faces": pair.faces,
                "points": pair.points,
                "distance": pair.distance if pair.points else None,
            }
            for pair in self.store.agreement()
        ]
        counts = {name: len(self.store.done(name)) for name in self.store.annotators}
        done = self.store.done(annotator)
        return JSONResponse(
            {"count": len(self.store.faces), "done": done, "annotators": counts, "agreement": pairs}
        )

    async def face(self, request: Request) -> Response:
        """One face, with an annotator's points, which PUT changes and DELETE takes away."""
        annotator, face = _annotator(request), self._face(request)
        if request.method == "PUT":
            points = read_points(_json(await read_body(request, LARGEST)), face)
            await run_in_threadpool(self.store.save, face, annotator, points)
        elif request.method == "DELETE":
            await run_in_threadpool(self.store.save, face, annotator, None)
        found = self.store.points(face, annotator)
        return JSONResponse(
            {
                "file": face.file.encode(errors="replace").decode(),
                "source": face.source,
                "size": face.size,
                "frame": face.frame,
                "start": None if face.start is None else face.start.round(2).tolist(),
                "points": None if found is None else found.tolist(),
            }
        )

    async def picture(self, request: Request) -> Response:
        """One face with its surroundings, in its own pixels."""
        return Response(self._face(request).shown, media_type="image/png")

    def _face(self, request: Request) -> Face:
        number = request.path_params["number"]
        # Python refuses to read numbers of thousands of digits.
        if not (number.isdecimal() and len(number) < 10 and int(number) < len(self.store.faces)):
            raise HTTPException(404, "There is no such face.")
        return self.store.faces[int(number)]


def _annotator(request: Request) -> str:
    return check_annotator(request.query_params.get("annotator", ""))


def _json(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError as error:
        raise InputError("The request is not JSON; send a list of five points.") from error


async def _unwritten(request: Request, error: Exception) -> Response:
    reason = getattr(error, "strerror", None) or str(error)
    return PlainTextResponse(f"It could not be written ({reason}); make room and try again.", 507)
