"""The command line: one file of this folder a command, found by its first line."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import sys
from pathlib import Path

import click

import lrjax
from lrjax import cli as commands
from lrjax.cli.say import say
from lrjax.errors import InputError, did_you_mean
from lrjax.files import import_file


def one_liners() -> dict[str, str]:
    """Read what each command says of itself, without importing it, as that may take seconds.

    A module is a command if its docstring begins "`lrjax NAME`: ", NAME being the module's; what
    follows on that line says what it does.
    """
    found = {}
    for module in pkgutil.iter_modules(commands.__path__):
        text = Path(__file__).with_name(f"{module.name}.py").read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(text)) or ""
        if about := re.match(rf"`lrjax {module.name}`: (.+)", docstring):
            found[module.name] = about[1][0].upper() + about[1][1:]
    return found


class Commands(click.Group):
    """Commands that are found in this folder, and imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names."""
        return list(one_liners())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command: that of its module whose name is the module's."""
        if name not in one_liners():
            return None
        module = importlib.import_module(f"{commands.__name__}.{name}")
        found = (value for value in vars(module).values() if isinstance(value, click.Command))
        return next(command for command in found if command.name == name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called, or name one that resembles it."""
        name, names = args[0], one_liners()
        if name not in names:
            raise click.UsageError(
                f"There is no command {name!r}{did_you_mean(name, names)}; there are "
                f"{', '.join(names)}.",
                ctx,
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line on each command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(one_liners().items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line on each system of the papers."""
        from lrjax.experiments.systems import SYSTEMS, state

        with formatter.section("Systems of the papers (see `lrjax train` and `lrjax experiment`)"):
            formatter.write_dl(
                [
                    (f"{one.name} ({one.paper})", f"{one.config}, {one.experiment}: {state(one)}")
                    for one in SYSTEMS
                ]
            )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(lrjax.__version__, prog_name="lrjax")
@click.option(
    "--import",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Run a Python file of yours first, which registers the networks that weights are of.",
)
def cli(files: tuple[Path, ...]) -> None:
    """Landmarks on, and recognition of, faces of 15 to 40 pixels."""
    for file in files:
        import_file(file)


def main() -> None:
    """Run the command line: what goes wrong is one sentence and status 1, Ctrl-C status 130."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except InputError as error:
        _stop(str(error), 1)
    except BrokenPipeError:  # whoever read the output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        file = error.filename or "A file"
        reason = error.strerror or error
        _stop(f"{file} cannot be read or written ({reason}); free it, or name another place.", 1)
    except (KeyboardInterrupt, click.Abort):
        _stop("interrupted.", 130)


def _stop(sentence: str, status: int) -> None:
    say(sentence)
    sys.exit(status)


if __name__ == "__main__":
    main()
