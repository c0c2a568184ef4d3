"""`lrjax config`: print a configuration, all its fields, or the names of all."""

from __future__ import annotations

import importlib
import json
from typing import Annotated

import click

from lrjax.cli.options import Click, Settings, command
from lrjax.config import override, to_dict
from lrjax.tasks import runs


@command(listed="Print the names of all, with variants.")
def config(
    name: Annotated[str | None, Click(metavar="CONFIG[:VARIANT]")] = None,
    *,
    listed: Annotated[bool, Click(flag="--list", is_flag=True)] = False,
    settings: Settings = (),
) -> None:
    """Print every field of CONFIG as JSON, as a run's config.json holds it.

    These are the fields that --set changes: g2.stem=32, train.steps=100, stage1=DIR. CONFIG may
    also be a file of your own, as for `lrjax train`.
    """
    if listed:
        for file in runs.config_names():
            for variant in importlib.import_module(f"{runs.CONFIGS}.{file}").VARIANTS:
                click.echo(f"{file}:{variant}")
    elif name is None:
        raise click.UsageError("Name a configuration, or give --list.")
    else:
        click.echo(json.dumps(to_dict(override(runs.find_config(name), settings)), indent=2))
