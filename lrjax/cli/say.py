"""What commands say on standard error, and write to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lrjax.errors import printable
from lrjax.files import naming


def say(sentence: str) -> None:
    """Write a sentence on standard error; names in it are made printable."""
    click.echo(printable(f"lrjax: {sentence}"), err=True)


def put(text: str, *, end: str = "\n") -> None:
    """Write text to standard output, byte by byte as names of files are.

    A terminal, which obeys what a name may hold, gets it printable.

    Raises:
      OSError: it cannot be written.
    """
    if sys.stdout.isatty():
        text = "\n".join(map(printable, text.split("\n")))
    with naming(Path("Standard output")):
        click.echo((text + end).encode("utf-8", "surrogateescape"), nl=False)
