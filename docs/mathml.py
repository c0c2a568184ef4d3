"""Equations of the pages: LaTeX becomes MathML, which browsers draw without any script."""

from typing import Any

from latex2mathml.converter import convert


def fence(source: str, language: str, css_class: str, *args: Any, **options: Any) -> str:
    """Make the HTML of a ```math block, as `pymdownx.superfences` asks for it."""
    return f'<div class="{css_class}">{convert(source, display="block")}</div>'
