"""`lrjax config`: a configuration as JSON."""

from __future__ import annotations

import json

import click

from lrjax.cli.options import find_config, settings_option
from lrjax.config import override, to_dict


@click.command()
@click.argument("name", metavar="CONFIG[:VARIANT]")
@settings_option
def config(name: str, settings: tuple[str, ...]) -> None:
    """Print every field of CONFIG as JSON, as a run's config.json holds it.

    These are the fields that --set changes: generator.stem=32, train.steps=100, stage1=DIR.
    """
    click.echo(json.dumps(to_dict(override(find_config(name), settings)), indent=2))
