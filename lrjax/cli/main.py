"""`lrjax`: one command line, one file per command."""

from __future__ import annotations

import importlib
import sys

import click

import lrjax
from lrjax.errors import InputError

# name -> (module, attribute, one line): modules are imported when their command is asked for, so
# that `lrjax --help` does not wait for JAX.
COMMANDS = {
    "quickstart": ("lrjax.cli.quickstart", "quickstart", "Everything once, on drawn faces."),
    "config": ("lrjax.cli.config", "config", "Print a configuration, all its fields."),
    "train": ("lrjax.cli.train", "train", "Train a configuration, or finish a run."),
    "prepare": ("lrjax.cli.prepare", "prepare", "Turn a dataset's official files into records."),
    "experiment": ("lrjax.cli.experiment", "experiment", "Run experiments of the papers."),
    "predict": ("lrjax.cli.predict", "predict", "Find the landmarks of faces in image files."),
    "align": ("lrjax.cli.align", "align", "Lay faces onto a template, for recognisers."),
    "identify": (
        "lrjax.cli.identify",
        "identify_command",
        "Find people again: TinyFace's protocol.",
    ),
    "evaluate": ("lrjax.cli.evaluate", "evaluate", "Measure a landmark network on a dataset."),
    "resolve": ("lrjax.cli.resolve", "resolve", "Enlarge faces by a super-resolution network."),
    "export": ("lrjax.cli.export", "export", "Write a run's network as one file."),
    "convert": ("lrjax.cli.convert", "convert", "Read weights that others published."),
    "benchmark": ("lrjax.cli.benchmark", "benchmark", "How fast training is here."),
    "report": ("lrjax.cli.report", "report", "Gather results into one page."),
}


class Lazy(click.Group):
    """A group whose commands are imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from lrjax.experiments.systems import SYSTEMS, state

        with formatter.section("Systems of the papers (see `lrjax train` and `lrjax experiment`)"):
            formatter.write_dl(
                [
                    (f"{one.name} ({one.paper})", f"{one.config}, {one.experiment}: {state(one)}")
                    for one in SYSTEMS
                ]
            )


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(lrjax.__version__, prog_name="lrjax")
def cli() -> None:
    """Landmarks on, and recognition of, faces of 15 to 40 pixels."""


def main() -> None:
    """Run the command line: wrong input is one sentence and status 1, Ctrl-C is status 130."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except InputError as error:
        click.echo(f"lrjax: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("lrjax: interrupted.", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
