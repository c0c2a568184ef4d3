"""`lrjax demo` as a user calls it, and its page in a browser."""

from __future__ import annotations

import re
from pathlib import Path

import browser
import pytest
from click.testing import CliRunner
from tiny import network_file

from lrjax.cli.demo import demo
from lrjax.errors import InputError
from lrjax.models.encoders import EncoderConfig


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A very narrow, untrained face encoder."""
    return network_file(tmp_path / "encoder.safetensors", EncoderConfig("mobilefacenet", 0.125))


def test_it_says_where_it_is(
    tiny_weights: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name, reason=f"{name} is not installed (lrjax[serve])")
    served = []
    monkeypatch.setattr("lrjax.web.server.serve", lambda *given: served.append(given))
    monkeypatch.setattr("lrjax.demo.engine.Engine._steps", lambda self: [])
    words = ["--weights", str(tiny_weights), "--encoder", str(encoder)]
    done = CliRunner().invoke(demo, words, catch_exceptions=False)
    (token,) = re.findall(r"Try it at http://127\.0\.0\.1:\d+/([\w-]{32})/ and end", done.stdout)
    assert served[0][3] == token
    assert done.stderr == ""
    monkeypatch.setattr("lrjax.web.server.is_loopback", lambda server: False)
    done = CliRunner().invoke(demo, words, catch_exceptions=False)
    assert "whoever has this address can use it; it is not encrypted" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "absent"], "absent"),
        (["--encoder", "absent"], "absent"),
        (["--host", "0.0.0.0"], "stands for every address"),
        (["--port", "99999"], "name another --host or --port"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tiny_weights: Path, words, message) -> None:
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name, reason=f"{name} is not installed (lrjax[serve])")
    done = CliRunner().invoke(demo, ["--weights", str(tiny_weights), *words])
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(demo, [])
    assert isinstance(done.exception, InputError)
    assert "pip install 'lrjax[serve]'" in str(done.exception)


def test_a_person_in_a_browser(tiny_weights: Path, encoder: Path) -> None:
    """Opens the example before the networks are ready, looks at two faces, and compares them."""
    words = ["demo", "--weights", tiny_weights, "--encoder", encoder]
    with browser.opened() as (playwright, page, wrong), browser.serving(*words) as (address, _):
        page.goto(address)
        page.click("#example")
        faces = page.locator("#faces li")
        playwright.expect(faces).to_have_count(30, timeout=120_000)
        playwright.expect(page.locator("#state")).to_have_text("Ready")
        assert page.locator("#view circle").count() == 30 * 5
        assert page.locator("#count").text_content().startswith("30 faces")
        whole = page.locator("#view svg").get_attribute("viewBox").split()
        assert [float(v) for v in whole] == [-0.5, -0.5, 840, 520]
        for number in (3, 8):
            faces.nth(number).locator("button").click()
            close = page.locator("#view svg").get_attribute("viewBox").split()
            assert float(close[2]) < 500
            page.click("#compare-this")
        playwright.expect(page.locator("#likeness b")).to_have_text(
            re.compile(r"^−?[01]\.\d\d$"), timeout=60_000
        )
        assert page.locator(".slot img").count() == 2
        page.keyboard.press("Escape")
        page.select_option("#points", "ibug68")
        playwright.expect(page.locator("#view circle")).to_have_count(30 * 68, timeout=60_000)
        page.uncheck("#boxes")
        assert page.locator("#view .box").count() == 0
        # What is no picture is said, and the last one stays.
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no"})
        playwright.expect(page.locator("#said")).to_contain_text("cannot show this file")
        for width in (1280, 400):
            page.set_viewport_size({"width": width, "height": 900})
            for path in ("", "docs"):
                page.goto(address + path)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert address in page.locator("pre.command").text_content()
        # What can never be is said, and nothing is waited for.
        state = page.request.get(f"{address}state").json()
        broken = state | {"ready": False, "problem": "There is no room."}
        page.route("**/state", lambda route: route.fulfill(json=broken))
        page.goto(address)
        playwright.expect(page.locator("#state")).to_have_text("Broken")
        page.click("#example")
        playwright.expect(page.locator("#said")).to_have_text("There is no room.")
        playwright.expect(page.locator("#wait")).to_be_hidden()
        assert wrong == []
