"""The page on which people annotate, served to those who have its address.

Of a request, the token, the Host header, a number of a face, an annotator's name and five points
are read; none of them is ever used as the name of a file.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lrjax.annotate.faces import Face
from lrjax.annotate.store import Store, check_annotator, read_points
from lrjax.errors import InputError
from lrjax.files import parse_json

LARGEST = 4096
"""Bytes of the largest request body: five points take 200."""

SCRIPT = "text/javascript"
PAGE = {"": "text/html", "page.css": "text/css", "page.js": SCRIPT, "view.js": SCRIPT}
"""What is served of the page, and its kind; "" is page.html."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_app(store: Store, token: str, hosts: Sequence[str]) -> ASGIApp:
    """Make the application.

    Args:
      store: of the faces and their points.
      token: first part of the path of every request; others get "not found".
      hosts: what the Host header may be, such as "127.0.0.1:8000": a page of another site whose
        name is made to lead here (DNS rebinding) sends its own.
    """
    routes = [_page_route(name, kind) for name, kind in PAGE.items()]
    endpoints = _Endpoints(store)
    routes += [
        Route("/faces", endpoints.faces),
        Route("/faces/{number}", endpoints.face, methods=["GET", "PUT", "DELETE"]),
        Route("/faces/{number}/picture", endpoints.picture),
    ]
    handlers: Any = {InputError: _refused, OSError: _unwritten}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # it would lead to a path without the token
    return _Door(app, token, hosts)


def listen(host: str, port: int) -> socket.socket:
    """Open a socket on one address, port 0 being any that is free.

    Raises:
      InputError: the address cannot be listened on, or stands for all that this machine has.
    """
    try:
        if not 0 <= port < 1 << 16:
            raise OverflowError("ports are 0 to 65535")
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if ipaddress.ip_address(address[0]).is_unspecified:
            raise InputError(
                f"The host {host} stands for every address of this machine; name the one by which "
                "others reach it."
            )
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"There can be no page on {host}, port {port} ({reason}); name another --host or "
            "--port."
        ) from error


def is_loopback(server: socket.socket) -> bool:
    """Tell whether a socket is for this machine alone."""
    return ipaddress.ip_address(server.getsockname()[0]).is_loopback


def serve(store: Store, host: str, server: socket.socket, token: str) -> None:
    """Serve the page until Ctrl-C, without a log: it would hold the token.

    Args:
      store: of the faces and their points.
      host: by which the socket is reached.
      server: the socket.
      token: see `make_app`.
    """
    port = server.getsockname()[1]
    # Browsers write an address in its shortest form, whatever was typed.
    names = {host, server.getsockname()[0]}
    if is_loopback(server):
        names |= {"127.0.0.1", "localhost", "::1"}
    app = make_app(store, token, hosts_of(names, port))
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[server])


def hosts_of(names: Iterable[str], port: int) -> list[str]:
    """List what the Host header may be; browsers leave out the port of HTTP, 80."""
    hosts = [authority(name, port) for name in names]
    return hosts + [host.removesuffix(":80") for host in hosts if port == 80]


def authority(host: str, port: int) -> str:
    """Write host and port as URLs and the Host header do; IPv6 addresses stand in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host.lower()}:{port}"


class _Door:
    """Lets in requests to one of our names, with the token, of bounded length."""

    def __init__(self, app: ASGIApp, token: str, hosts: Sequence[str]) -> None:
        self.app, self.token, self.hosts = app, token.encode(), {host.encode() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        headers = scope["headers"]
        names = [value.lower() for name, value in headers if name == b"host"]
        lengths = [value for name, value in headers if name == b"content-length"]
        given, slash, rest = scope["path"].removeprefix("/").partition("/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        answer: ASGIApp
        if len(names) != 1 or names[0] not in self.hosts:
            answer = PlainTextResponse("This page has another address.", 421)
        elif not secrets.compare_digest(given.encode("utf-8", "replace"), self.token) or not slash:
            answer = PlainTextResponse("There is nothing here.", 404)
        elif any(not value.isdigit() or int(value[:20]) > LARGEST for value in lengths):
            answer = PlainTextResponse("The request is too long.", 413)
        else:
            answer, scope = self.app, {**scope, "path": f"/{rest}"}
        await answer(scope, receive, send_with_headers)


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
            points = read_points(_json(await _body(request)), face)
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


def _page_route(name: str, kind: str) -> Route:
    content = Path(__file__).with_name(name or "page.html").read_bytes()

    async def page(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(f"/{name}", page)


def _annotator(request: Request) -> str:
    return check_annotator(request.query_params.get("annotator", ""))


async def _body(request: Request) -> bytes:
    """The body, which may be sent in parts without a length."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise HTTPException(413, "The request is too long.")
    return body


def _json(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError as error:
        raise InputError("The request is not JSON; send a list of five points.") from error


async def _refused(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 400)


async def _unwritten(request: Request, error: Exception) -> Response:
    reason = getattr(error, "strerror", None) or str(error)
    return PlainTextResponse(f"It could not be written ({reason}); make room and try again.", 507)
