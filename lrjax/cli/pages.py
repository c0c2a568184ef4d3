"""What the commands that serve a page have in common."""

from __future__ import annotations

import importlib.util
import secrets
import socket

import click

from lrjax.cli.say import say
from lrjax.errors import InputError


def need_server() -> None:
    """Raise an InputError that says what to install where a page cannot be served."""
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise InputError("The page needs starlette and uvicorn; pip install 'lrjax[serve]'.")


def invite(server: socket.socket, host: str, what: str, others: str) -> str:
    """Say where the page is, and return the token that is part of its address.

    Args:
      server: the socket.
      host: by which it is reached.
      what: there is to do, before " at ADDRESS".
      others: what whoever has the address can do, where other machines reach it.
    """
    from lrjax.web.server import authority, is_loopback

    token = secrets.token_urlsafe(24)
    address = f"http://{authority(host, server.getsockname()[1])}/{token}/"
    click.echo(f"{what} at {address} and end with Ctrl-C.")
    if not is_loopback(server):
        say(f"whoever has this address can {others}; it is not encrypted.")
    return token
