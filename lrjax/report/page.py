"""One self-contained HTML page: no script, no second file, light and dark, readable on a phone."""

import base64
import json
import re
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lrjax.errors import InputError
from lrjax.files import read_bytes, write_atomically
from lrjax.report.results import REMEDY, Figure, Result
from lrjax.report.tables import Table

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
}

GLOSSARY: dict[str, str] = json.loads(Path(__file__).with_name("glossary.json").read_bytes())
"""Term -> what it means. A term is matched as a whole word, in its case."""

_LONGEST_FIRST = "|".join(map(re.escape, sorted(GLOSSARY, key=len, reverse=True)))
_TERM_OR_CODE = re.compile(rf"((?<![\w-])(?:{_LONGEST_FIRST})(?!\w)|`[^`]+`)")


def write_page(
    path: str | Path, title: str, results: Sequence[tuple[Path, Result]], introduction: str = ""
) -> None:
    """Write the page, atomically. It needs no other file and no network."""
    write_atomically(path, render_page(title, results, introduction).encode())


def write_faces_page(
    path: str | Path, title: str, summary: str, sheets: Sequence[bytes], table: Table
) -> None:
    """Write a page on faces, atomically: what was found in words, JPEG pictures, and a table."""
    write_atomically(
        path,
        _environment()
        .get_template("faces.html.jinja")
        .render(title=title, summary=summary, sheets=sheets, table=table)
        .encode("utf-8", "replace"),
    )


def render_page(title: str, results: Sequence[tuple[Path, Result]], introduction: str = "") -> str:
    """Render the page.

    Args:
      title: of the page.
      results: as `gather` returns them: the JSON file, beside which the pictures lie, and what it
        holds. One section each.
      introduction: what was done, before what is counted here.

    Raises:
      InputError: a picture is absent or of an unknown kind.
    """
    used = set(_TERM_OR_CODE.findall(f"{introduction} {results}"))
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=title,
            introduction=introduction,
            sections=results,
            results=[result for _, result in results],
            titles=[result.title for _, result in results],
            claims=[claim for _, result in results for claim in result.claims],
            terms={term: meaning for term, meaning in GLOSSARY.items() if term in used},
        )
    )


def _environment() -> Environment:
    page = Environment(
        loader=PackageLoader("lrjax", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {
        "explain": explain,
        "figure_uri": _figure_uri,
        "jpeg_uri": partial(_data_uri, MEDIA_TYPES[".jpg"]),
        "heading_groups": _heading_groups,
    }
    return page


def explain(text: str) -> Markup:
    """Escape a text for HTML; set `code`, and let terms say what they mean (hover, focus)."""
    return Markup("").join(_explained(part) for part in _TERM_OR_CODE.split(text))


def _explained(part: str) -> Markup:
    if part in GLOSSARY:
        return Markup('<abbr tabindex="0" title="{}">{}</abbr>').format(GLOSSARY[part], part)
    if _TERM_OR_CODE.fullmatch(part):
        return Markup("<code>{}</code>").format(part[1:-1])
    return escape(part)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _figure_uri(figure: Figure, folder: Path) -> str:
    path = folder / figure.file
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise InputError(f"Picture {path} is not one of {', '.join(MEDIA_TYPES)}; convert it.")
    return _data_uri(media_type, read_bytes(path, "picture", REMEDY))


def _heading_groups(table: Table) -> list[tuple[str, list[str], bool]]:
    """Group "rank-1, paper" and "rank-1, ours" as ("rank-1", ["paper", "ours"], numeric)."""
    groups = []
    headings = list(zip(table.columns, table.numeric(), strict=True))
    for metric, members in groupby(headings, lambda heading: heading[0].rpartition(", ")[0]):
        columns = list(members)
        sides = [column.rpartition(", ")[2] for column, _ in columns]
        if metric and sides == ["paper", "ours"]:
            groups.append((metric, sides, True))
        else:
            groups += [(column, [], numeric) for column, numeric in columns]
    return groups
