"""The page: complete in itself, well formed, safe with any text."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lrjax.errors import InputError
from lrjax.report import draw
from lrjax.report.page import Picture, Section, read_picture, render_page, section, write_page
from lrjax.report.results import Figure, Result
from lrjax.report.tables import Table

PNG = draw.encode_png(np.full((4, 6, 3), 90, np.uint8))
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Checker(HTMLParser):
    """Checks that tags are closed in order; collects ids, links, sources and text."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attribute(self, name: str) -> list[str]:
        return [attrs[name] for _, attrs in self.seen if name in attrs]


def check(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert not checker.stack
    return checker


def sections() -> list[Section]:
    table = Table("Ablation", ("Setting", "NRMSE"), (("S1", 11.33), ("S2", None)))
    return [
        Section("Table 1b", ["As measured."], [table], [Picture(PNG, "Errors")], {"Data": "300W"}),
        Section("Table 1b"),
        Section("Figure 4: <faces> & more"),
    ]


def test_page_is_well_formed_and_needs_nothing_else() -> None:
    page = check(render_page("Results", sections()))
    sources = page.attribute("src")
    assert len(sources) == 1
    assert base64.b64decode(sources[0].removeprefix("data:image/png;base64,")) == PNG
    assert not [tag for tag, _ in page.seen if tag in ("script", "link")]
    assert "http" not in render_page("Results", sections())
    assert "url(" not in render_page("Results", sections())


def test_contents_link_to_unique_sections() -> None:
    page = check(render_page("Results", sections()))
    ids = page.attribute("id")
    assert ids == ["table-1b", "table-1b-2", "figure-4-faces-more"]
    assert page.attribute("href") == [f"#{name}" for name in ids]


def test_page_is_for_phones_and_the_dark() -> None:
    text = render_page("Results", sections())
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text


def test_texts_are_escaped() -> None:
    bad = '"><script>alert(1)</script>'
    text = render_page(bad, [Section(bad, [bad], (), [Picture(PNG, bad)], {bad: bad, "Data": bad})])
    page = check(text)
    assert not [tag for tag, _ in page.seen if tag == "script"]
    # The title twice, the heading, the note, the caption, one fact's name and two facts.
    assert page.text.count(bad) == 8
    assert page.attribute("alt") == [bad]


def test_result_becomes_a_section_with_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    result = Result("T", notes=("n",), figures=(Figure("a.png", "cap"),), command="lrjax train")
    made = section(result, tmp_path)
    assert made.pictures == [Picture(PNG, "cap", "image/png")]
    assert made.facts == {"Command": "lrjax train"}
    assert "<code>lrjax train</code>" in render_page("R", [made])


def test_absent_or_strange_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        read_picture(tmp_path / "b.png", "")
    with pytest.raises(InputError, match=r"b\.tiff is not one of \.png"):
        read_picture(tmp_path / "b.tiff", "")


def test_write_page_is_utf8(tmp_path: Path) -> None:
    write_page(tmp_path / "out" / "p.html", "σ — ü", [])
    text = (tmp_path / "out" / "p.html").read_bytes().decode("utf-8")
    assert re.search(r"<title>σ — ü</title>", text)
