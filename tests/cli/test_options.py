"""Commands made of functions and dataclasses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner

from lrjax.cli.options import Click, DataDir, Flag, Settings, command
from lrjax.config import AlignmentConfig
from lrjax.inference.landmarks import PredictConfig


@dataclasses.dataclass(frozen=True)
class One:
    """Fields of every type."""

    flip: bool = True
    fit: Literal["a", "b"] = "b"
    scales: tuple[float, ...] = (0.5, 1.0)
    region: tuple[float, float] = (0.0, 1.0)
    which: str | None = None
    passes: int = 2


@dataclasses.dataclass(frozen=True)
class Two:
    """A field that is shared."""

    passes: int = 2


@command(count="How many.")
def example_command(
    name: str,
    more: tuple[str, ...] = (),
    *,
    one: One,
    two: Two,
    count: Annotated[int, Click(type=click.IntRange(1, 3))] | None = None,
    out: Path,
    dry_run: Flag = False,
    data_dir: DataDir,
    settings: Settings = (),
) -> None:
    """Try."""
    click.get_current_context().obj.update(locals())


def given(*words: str) -> dict[str, Any]:
    """The values that the function is called with."""
    found: dict[str, Any] = {}
    example_command.main([*words], standalone_mode=False, obj=found)
    return found


def test_defaults_are_the_functions_and_the_dataclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", "/records")
    assert given("a", "--out", "o") == {
        "name": "a",
        "more": (),
        "one": One(),
        "two": Two(),
        "count": None,
        "out": Path("o"),
        "dry_run": False,
        "data_dir": Path("/records"),
        "settings": (),
    }


def test_fields_are_options_that_dataclasses_share() -> None:
    words = ["--no-flip", "--fit", "a", "--scales", "1,2.5,3", "--region", "0.1,0.2"]
    found = given("a", "b", "c", "--out", "o", *words, "--passes", "3", "--which", "w")
    assert found["one"] == One(False, "a", (1.0, 2.5, 3.0), (0.1, 0.2), "w", 3)
    assert found["two"] == Two(3)
    assert found["more"] == ("b", "c")
    found = given("a", "--out", "o", "--set", "a=1", "--set", "b=2", "--dry-run", "--count", "2")
    assert (found["settings"], found["dry_run"], found["count"]) == (("a=1", "b=2"), True, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "Missing option '--out'"),
        (["--out", "o"], "Missing argument 'NAME'"),
        (["a", "--out", "o", "--fit", "c"], "'c' is not one of 'a', 'b'"),
        (["a", "--out", "o", "--scales", "1,x"], "is not a list of numbers"),
        (["a", "--out", "o", "--region", "1"], "'1' is not 2 numbers"),
        (["a", "--out", "o", "--count", "4"], "4 is not in the range 1<=x<=3"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], message: str) -> None:
    result = CliRunner().invoke(example_command, words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_every_field_of_what_commands_take_has_a_help() -> None:
    @command()
    def both(*, alignment: AlignmentConfig, options: PredictConfig) -> None:
        """Take both."""

    fields = {f.name for kind in (AlignmentConfig, PredictConfig) for f in dataclasses.fields(kind)}
    assert {option.name for option in both.params} == fields
    assert all(option.help for option in both.params)
