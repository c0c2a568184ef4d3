"""The command line as it was given, for results that say how they were made."""

from __future__ import annotations

import shlex
from typing import Any

import click


def command_line(context: click.Context) -> str:
    """The command line as given, without the defaults."""
    words = ["lrjax", context.command.name]
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


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
