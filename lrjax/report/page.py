"""One self-contained HTML page: no script, no second file, light and dark, readable on a phone."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.report.results import Result
from lrjax.report.tables import Table

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Picture:
    """An image file's bytes, its media type ("image/png") and what is to be seen on it."""

    data: bytes
    caption: str
    media_type: str = "image/png"


@dataclass(frozen=True)
class Section:
    """One heading with what stands below it, in this order.

    Attributes:
      title: the heading.
      notes: paragraphs of plain text.
      tables, pictures: as they are to be shown.
      facts: short name -> text, e.g. "Command" -> "lrjax evaluate ...".
    """

    title: str
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def section(result: Result, folder: Path) -> Section:
    """The section of a result whose JSON file lies in `folder`, with its pictures read.

    Raises:
      InputError: a picture is absent or of an unknown kind.
    """
    facts = {"Command": result.command, "Data": result.data, "Hardware": result.hardware}
    pictures = [read_picture(folder / f.file, f.caption) for f in result.figures]
    present = {name: text for name, text in facts.items() if text}
    return Section(result.title, result.notes, result.tables, pictures, present)


def read_picture(path: Path, caption: str) -> Picture:
    """An image file as a Picture; its kind follows from its suffix."""
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise InputError(f"Picture {path} is not one of {', '.join(MEDIA_TYPES)}; convert it.")
    try:
        return Picture(path.read_bytes(), caption, media_type)
    except OSError as error:
        raise InputError(
            f"Picture {path} cannot be read ({error.strerror}); run its experiment again."
        ) from error


def write_page(path: str | Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically. It needs no other file and no network."""
    write_atomically(path, render_page(title, sections).encode())


def render_page(title: str, sections: Sequence[Section]) -> str:
    """The page as text."""
    style = resources.files("lrjax.report").joinpath("page.css").read_text(encoding="utf-8")
    names = _anchors([s.title for s in sections])
    parts = [_section(s, name) for s, name in zip(sections, names, strict=True)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<main>\n<h1>{html.escape(title)}</h1>\n"
        + _contents(sections, names)
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _contents(sections: Sequence[Section], names: Sequence[str]) -> str:
    if len(sections) < 2:
        return ""
    items = "".join(
        f'<li><a href="#{name}">{html.escape(s.title)}</a></li>'
        for s, name in zip(sections, names, strict=True)
    )
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>\n'


def _section(content: Section, name: str) -> str:
    parts = [f'<section id="{name}">\n<h2>{html.escape(content.title)}</h2>']
    parts += [f"<p>{html.escape(note)}</p>" for note in content.notes]
    parts += [table.to_html() for table in content.tables]
    parts += [_picture(picture) for picture in content.pictures]
    if content.facts:
        facts = "".join(
            f"<dt>{html.escape(key)}</dt><dd>{_fact(key, text)}</dd>"
            for key, text in content.facts.items()
        )
        parts.append(f"<dl>{facts}</dl>")
    return "\n".join([*parts, "</section>"])


def _fact(key: str, text: str) -> str:
    return f"<code>{html.escape(text)}</code>" if key == "Command" else html.escape(text)


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode()
    caption = html.escape(picture.caption)
    return (
        f'<figure><img src="data:{picture.media_type};base64,{data}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


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
