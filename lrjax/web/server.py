"""A server of one page and what it asks for, which lets in those who have its address.

Every request must carry the token and one of the server's own names, come from no other site's
page, and be of bounded length; what is left of its path is looked up among the routes, and is never
the name of a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from lrjax.errors import InputError

CONNECTIONS = 64
"""At most so many at a time; others are answered with status 503."""

PATIENCE = 60.0
"""Seconds, twice as many at most, that a client may take to send a request, or take its answer."""

FAREWELL = 3
"""Seconds that requests which are being answered have left after Ctrl-C."""

SCRIPT, STYLE, HTML = "text/javascript", "text/css", "text/html"

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

NOTHING = "There is nothing here."

Refuse = Callable[[str, int], Response]
"""Makes the answer that is a sentence, with this status."""


@dataclasses.dataclass(frozen=True)
class Site:
    """Hold what a server answers with.

    Attributes:
      routes: of the page, and of what it asks for.
      largest: bytes of the largest request body.
      refuse: how errors are written.
      handlers: error -> how it is answered, besides `InputError` (400) and `HTTPException`.
    """

    routes: Sequence[Route]
    largest: int
    refuse: Refuse = PlainTextResponse
    handlers: Mapping[Any, Any] = dataclasses.field(default_factory=dict)


def make_app(site: Site, token: str, hosts: Sequence[str]) -> ASGIApp:
    """Make the application.

    Args:
      site: what it answers with.
      token: first part of the path of every request; others get "not found".
      hosts: what the Host header may be, such as "127.0.0.1:8000": a page of another site whose
        name is made to lead here (DNS rebinding) sends its own.
    """

    async def refused(request: Request, error: Exception) -> Response:
        return site.refuse(str(error), 400)

    async def not_done(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        # Starlette's own are no sentences.
        own = {"Not Found": NOTHING, "Method Not Allowed": "This method is none of those allowed."}
        answer = site.refuse(own.get(error.detail, error.detail), error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    handlers: Any = {InputError: refused, HTTPException: not_done, **site.handlers}
    app = Starlette(routes=[*site.routes], exception_handlers=handlers)
    app.router.redirect_slashes = False  # it would lead to a path without the token
    return _Door(app, site, token, hosts)


def file_routes(folder: Path, kinds: Mapping[str, str]) -> list[Route]:
    """Make routes of a page's files, each read now.

    Args:
      folder: where they are.
      kinds: name -> media type; "" is page.html.

    Returns:
      their routes, and those of base.css and svg.js, which all pages share.
    """
    files = {name: (folder / (name or "page.html"), kind) for name, kind in kinds.items()}
    for name, kind in (("base.css", STYLE), ("svg.js", SCRIPT)):
        files[name] = Path(__file__).with_name(name), kind
    return [content_route(name, path.read_bytes(), kind) for name, (path, kind) in files.items()]


def content_route(name: str, content: bytes, kind: str) -> Route:
    """Make the route of something that does not change."""

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(f"/{name}", answer)


async def read_body(request: Request, largest: int) -> bytes:
    """Read the body, which may be sent in parts without a length.

    Raises:
      HTTPException: it is longer than `largest` bytes, or broken off.
    """
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > largest:
                raise HTTPException(413, _too_long(largest))
    except ClientDisconnect as error:  # as when a page is left while it sends a picture
        raise HTTPException(400, "The request was broken off; send it again.") from error
    return bytes(body)


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


def serve(site: Site, host: str, server: socket.socket, token: str) -> None:
    """Serve a site until Ctrl-C, without a log: it would hold the token.

    Args:
      site: what is served.
      host: by which the socket is reached.
      server: the socket.
      token: see `make_app`.
    """
    port = server.getsockname()[1]
    # Browsers write an address in its shortest form, whatever was typed.
    names = {host, server.getsockname()[0]}
    if is_loopback(server):
        names |= {"127.0.0.1", "localhost", "::1"}
    app = make_app(site, token, hosts_of(names, port))
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        http=_Impatient,
        timeout_graceful_shutdown=FAREWELL,
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


class _Impatient(H11Protocol):
    """Ends connections that would be kept by whoever sends, or takes, nothing.

    Without it so many as `CONNECTIONS` of them would shut out all others.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look, every `PATIENCE` seconds, whether it still goes on."""
        super().connection_made(transport)
        self._look(waited=False, cycle=None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._next.cancel()
        super().connection_lost(exc)

    def _look(self, waited: bool, cycle: object) -> None:
        received = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        waits = self.flow.write_paused or not received
        # For the same one as the last time.
        if waits and waited and cycle is self.cycle:
            self.transport.abort()
        else:
            self._next = self.loop.call_later(PATIENCE, self._look, waits, self.cycle)


class _Door:
    """Lets in requests to one of our names, with the token, from our pages, of bounded length."""

    def __init__(self, app: ASGIApp, site: Site, token: str, hosts: Sequence[str]) -> None:
        self.app, self.site = app, site
        self.token, self.hosts = token.encode(), {host.encode() for host in hosts}
        self.origins = {f"http://{host}".encode() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        headers, largest, refuse = scope["headers"], self.site.largest, self.site.refuse
        names = [value.lower() for name, value in headers if name == b"host"]
        origins = [value.lower() for name, value in headers if name == b"origin"]
        lengths = [value for name, value in headers if name == b"content-length"]
        given, slash, rest = scope["path"].removeprefix("/").partition("/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        answer: ASGIApp
        if len(names) != 1 or names[0] not in self.hosts:
            answer = refuse("This page has another address.", 421)
        elif not secrets.compare_digest(given.encode("utf-8", "replace"), self.token) or not slash:
            answer = refuse(NOTHING, 404)
        elif not self.origins.issuperset(origins):
            answer = refuse("Pages of other sites may ask for nothing here.", 403)
        elif any(not value.isdigit() or int(value[:20]) > largest for value in lengths):
            answer = refuse(_too_long(largest), 413)
        else:
            answer, scope = self.app, {**scope, "path": f"/{rest}"}
        await answer(scope, receive, send_with_headers)


def _too_long(largest: int) -> str:
    return f"The request is too long; send at most {largest:,} bytes."
