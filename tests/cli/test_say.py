"""What is said of names that are no text."""

from __future__ import annotations

import contextlib
import sys

import pytest

from lrjax.cli.say import put, say

NAME = "M\udcfcller\x1b[2J.jpg"
"""As Python has a name that is not UTF-8, and that would clear a terminal."""


def test_what_is_said_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{NAME} is damaged.")
    assert capsys.readouterr().err == "lrjax: M\\udcfcller\\x1b[2J.jpg is damaged.\n"


def test_output_has_names_byte_by_byte_but_on_a_terminal(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{NAME},1\nb.jpg,2", end="")
    assert capfdbinary.readouterr().out == b"M\xfcller\x1b[2J.jpg,1\nb.jpg,2"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    put(f"{NAME},1\nb.jpg,2")
    assert capfdbinary.readouterr().out == b"M\\udcfcller\\x1b[2J.jpg,1\nb.jpg,2\n"


def test_output_that_has_no_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left") as caught:
            put("a,b")
        with contextlib.suppress(OSError):
            full.close()
    assert caught.value.filename == "Standard output"
