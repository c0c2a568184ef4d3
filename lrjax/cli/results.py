"""Results of a command, as `lrjax report` reads them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import jax
from matplotlib.figure import Figure as Drawing

from lrjax.files import write_atomically
from lrjax.report.plots import to_svg
from lrjax.report.results import Figure, Result, stamp
from lrjax.report.tables import Table


def command_line() -> str:
    """Return the command line of the command that runs, as given, without the defaults."""
    context = click.get_current_context()
    words = ["lrjax", str(context.command.name)]
    for parameter in context.command.params:
        name, value = parameter.name, context.params[parameter.name]
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if not given or name in ("data_dir", "cache"):
            continue
        if isinstance(parameter, click.Argument):
            words += value if isinstance(value, tuple) else [str(value)]
        elif isinstance(value, bool):
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            for one in value if parameter.multiple else [value]:
                words += [parameter.opts[0], _word(one)]
    return shlex.join(words)


def save_result(
    out: Path, tables: Sequence[Table], data: str, curves: Iterable[tuple[str, str, Drawing]]
) -> None:
    """Write tables as a result, and its curves as SVG files beside it.

    Args:
      out: the JSON file.
      tables: what was measured, the one that names the result first.
      data: on which images, and how many.
      curves: (end of the file's name, caption, drawing) of each.
    """
    figures = []
    for suffix, caption, drawing in curves:
        file = out.with_name(f"{out.stem}-{suffix}.svg")
        write_atomically(file, to_svg(drawing))
        figures.append(Figure(file.name, caption))
    result = Result(
        title=tables[0].title,
        tables=tuple(tables),
        figures=tuple(figures),
        command=tables[0].command,
        data=data,
        hardware=jax.devices()[0].device_kind,
    )
    stamp(result).save(out)


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
