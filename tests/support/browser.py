"""A command that serves a page, and a browser that opens it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def serving(*words: object) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address that `lrjax WORDS` says first, and its process, which Ctrl-C ends."""
    command = [sys.executable, "-m", "lrjax", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ
    )
    try:
        yield re.search(r"http://\S+", process.stdout.readline())[0], process
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def opened() -> Iterator[tuple[Any, Any, list[str]]]:
    """Playwright, an empty page of a headless Chromium, and what is said on its console."""
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name, reason=f"{name} is not installed (lrjax[serve])")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (lrjax[browser])"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        yield playwright, page, wrong
        browser.close()
