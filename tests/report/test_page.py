"""The page: complete in itself, well formed, safe with any text."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lrjax.errors import InputError
from lrjax.report import draw
from lrjax.report.page import GLOSSARY, explain, render_page, write_page
from lrjax.report.results import Claim, Figure, Result
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


@pytest.fixture
def found(tmp_path: Path) -> list[tuple[Path, Result]]:
    (tmp_path / "ced.png").write_bytes(PNG)
    table = Table("Ablation", ("Setting", "NRMSE, paper", "NRMSE, ours"), (("S1", 11.33, None),))
    first = Result(
        "Table 1b",
        summary="As measured.",
        tables=(table,),
        figures=(Figure("ced.png", "Errors"),),
        data="300W",
        command="lrjax experiment table1b --set 'a=b c'",
        date="2025-03-01",
        seconds=7000,
        commit="abc1234",
        claims=(
            Claim("S1 > S2", (3.0, 2.0), (11.33, 4.123), (0.5, 1.5), "error"),
            Claim("S3 > S2", (1.0, 2.0), (), (-1.5, -0.5)),
            Claim("S4 > S3"),
        ),
    )
    others = (Result("Table 1b"), Result("Figure 4: <faces> & more"))
    return [(tmp_path / "a.json", result) for result in (first, *others)]


def test_page_is_well_formed_and_needs_nothing_else(found) -> None:
    text = render_page("Results", found)
    page = check(text)
    (source,) = page.attribute("src")
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == PNG
    assert not [tag for tag, _ in page.seen if tag in ("script", "link")]
    assert "http" not in text
    assert "url(" not in text


def test_contents_link_to_unique_sections(found) -> None:
    page = check(render_page("Results", found))
    ids = page.attribute("id")
    assert ids == ["section-1", "section-2", "section-3", "glossary"]
    assert page.attribute("href") == [f"#{name}" for name in ids[:3]]


def test_results_of_one_title_are_told_apart_by_their_folder(found) -> None:
    folder = found[0][0].parent.name
    text = " ".join(check(render_page("Results", found)).text.split())
    # In the contents and above the sections.
    assert text.count(f"Table 1b {folder}") == 4
    assert f"& more {folder}" not in text


def test_page_is_for_phones_and_the_dark(found) -> None:
    text = render_page("Results", found)
    assert 'name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text
    labels = check(text).attribute("data-label")
    assert labels[-3:] == ["Setting", "NRMSE, paper", "NRMSE, ours"]


def test_the_beginning_says_what_was_done_and_what_it_shows(found) -> None:
    text = " ".join(check(render_page("Results", found, "Networks were trained.")).text.split())
    assert (
        "Networks were trained. 3 results with 1 tables and 1 pictures stand below. Of the 3 "
        "orders of methods that the papers claim here: ✓ 1 held ✗ 1 not held – 1 not shown" in text
    )


def test_claims_are_ticked_and_have_intervals(found) -> None:
    text = " ".join(check(render_page("Results", found)).text.split())
    assert "✓ held S1 > S2 error 3.00, 2.00 % 11.33, 4.123 % 0.50, 1.50 %" in text
    assert "✗ not held S3 > S2 1.00, 2.00 % — -1.50, -0.50 %" in text
    assert "– not shown S4 > S3 — — —" in text


def test_tables_hold_the_cells_with_the_papers_beside_ours(found) -> None:
    text = " ".join(check(render_page("Results", found)).text.split())
    assert "Ablation Setting NRMSE paper ours S1 11.330 — " in text


def test_facts_say_how_to_repeat_it(found) -> None:
    text = " ".join(check(render_page("Results", found)).text.split())
    assert (
        "Command lrjax experiment table1b --set 'a=b c' Data 300W Took 117 min "
        "Date 2025-03-01 Commit abc1234" in text
    )


def test_texts_are_escaped(tmp_path: Path) -> None:
    bad = '"><script>alert(1)</script>'
    (tmp_path / "a.png").write_bytes(PNG)
    result = Result(
        bad,
        tables=(Table(bad, (bad,), ((bad,),), note=bad, command=bad, data=bad),),
        figures=(Figure("a.png", bad),),
        notes=(bad,),
        command=bad,
        data=bad,
        hardware=bad,
        summary=bad,
        claims=(Claim(bad, (2, 1), where=bad, unit=bad),),
        date=bad,
        commit=bad,
    )
    page = check(render_page(bad, [(tmp_path / "a.json", result)], bad))
    assert not [tag for tag, _ in page.seen if tag == "script"]
    # Title, heading and introduction; the section's title, summary, note and six facts; six texts
    # of the table; the caption; three of the claim. The unit follows a claim's figures.
    assert page.text.count(bad) == 3 + 3 + 5 + 6 + 1 + 3
    assert page.attribute("alt") == [bad]
    assert page.attribute("data-label")[-1] == bad


def test_terms_say_what_they_mean() -> None:
    html = str(explain("S1 < S12, k_t and G2's `S1`"))
    assert html == (
        f'<abbr tabindex="0" title="{GLOSSARY["S1"]}">S1</abbr> &lt; S12, '
        f'<abbr tabindex="0" title="{GLOSSARY["k_t"]}">k_t</abbr> and '
        f'<abbr tabindex="0" title="{GLOSSARY["G2"]}">G2</abbr>&#39;s <code>S1</code>'
    )
    assert explain("not AS1 or pre-S2, `") == "not AS1 or pre-S2, `"


def test_the_glossary_lists_what_is_used(found) -> None:
    text = render_page("Results", found)
    terms = re.findall("<dt>(.*?)</dt>", text[text.index('id="glossary"') :])
    assert terms == ["S1", "S2", "S3", "S4", "NRMSE"]


def test_absent_or_strange_pictures_are_named(tmp_path: Path) -> None:
    def render(name: str) -> str:
        return render_page("R", [(tmp_path / "a.json", Result("T", figures=(Figure(name, ""),)))])

    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        render("b.png")
    with pytest.raises(InputError, match=r"b\.tiff is not one of \.png"):
        render("b.tiff")


def test_write_page_is_utf8(tmp_path: Path) -> None:
    write_page(tmp_path / "out" / "p.html", "σ — ü", [])
    text = (tmp_path / "out" / "p.html").read_bytes().decode("utf-8")
    assert re.search(r"<title>σ — ü</title>", text)
