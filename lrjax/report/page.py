"""One self-contained HTML page: no script, no second file, light and dark, readable on a phone."""

import base64
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.report.glossary import explain, terms_in
from lrjax.report.results import Figure, Result
from lrjax.report.tables import Table

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
}


def write_page(
    path: str | Path, title: str, results: Sequence[tuple[Path, Result]], introduction: str = ""
) -> None:
    """Write the page, atomically. It needs no other file and no network."""
    write_atomically(path, render_page(title, results, introduction).encode())


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
    page = Environment(
        loader=PackageLoader("lrjax", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {
        "explain": explain,
        "data_uri": _data_uri,
        "duration": _duration,
        "heading_groups": _heading_groups,
    }
    everything = [result for _, result in results]
    return page.get_template("page.html.jinja").render(
        title=title,
        introduction=introduction,
        sections=list(zip(_anchors([r.title for r in everything]), results, strict=True)),
        results=everything,
        claims=[claim for result in everything for claim in result.claims],
        terms=terms_in(f"{introduction} {everything}"),
    )


def _data_uri(figure: Figure, folder: Path) -> str:
    path = folder / figure.file
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise InputError(f"Picture {path} is not one of {', '.join(MEDIA_TYPES)}; convert it.")
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise InputError(
            f"Picture {path} cannot be read ({error.strerror}); run its experiment again."
        ) from error
    return f"data:{media_type};base64,{data}"


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


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _anchors(titles: Sequence[str]) -> list[str]:
    """Names for links, unique and made of the titles' letters and digits."""
    names: list[str] = []
    for title in titles:
        base = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        name, number = base, 2
        while name in names:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return names
