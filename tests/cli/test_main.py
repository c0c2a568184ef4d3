"""The command line as a whole: its help, its suggestions, its exit statuses."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from lrjax.cli import config, main
from lrjax.errors import InputError
from lrjax.files import write_atomically
from lrjax.report.results import Result
from lrjax.report.tables import Table

COMMANDS = (
    *("quickstart", "config", "train", "prepare", "experiment", "predict", "align", "identify"),
    *("evaluate", "upsample", "export", "convert", "detect", "annotate", "benchmark", "report"),
    *("demo", "sample"),
)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of `lrjax WORDS`."""
    monkeypatch.setattr(sys, "argv", ["lrjax", *words])
    with pytest.raises(SystemExit) as status:
        main.main()
    return status.value.code


def test_every_command_has_a_line_and_a_module() -> None:
    lines = main.one_liners()
    assert set(lines) == set(COMMANDS)
    for name, line in lines.items():
        assert line[0].isupper()
        assert line.endswith(".")
        assert main.cli.get_command(None, name).name == name


def test_help_does_not_wait_for_jax() -> None:
    script = "import sys; from lrjax.cli.main import main\ntry: main()\nexcept SystemExit: pass\n"
    script += "print('jax' in sys.modules, 'tensorflow_datasets' in sys.modules)"
    command = [sys.executable, "-c", script, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")
    assert "Train a configuration, or finish a run." in done.stdout
    assert "landmarks:s4, table1b: " in done.stdout


def test_python_m() -> None:
    command = [sys.executable, "-m", "lrjax", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lrjax, version ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "There is no command 'trian' (did you mean 'train'?); there are align, "),
        (["config", "landmark:s1"], "(did you mean 'landmarks'?)"),
        (["prepare", "w30"], "(did you mean 'w300'?)"),
        (["experiment", "tabel1b"], "(did you mean 'table1b'?)"),
    ],
)
def test_what_is_meant_is_guessed(words: list[str], message: str) -> None:
    result = CliRunner().invoke(main.cli, words)
    assert result.exit_code != 0
    assert message in f"{result.stderr}{result.exception}"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "lrjax: interrupted.\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.csv"),
            1,
            "lrjax: out.csv cannot be read or written (No space left on device); free it, or name "
            "another place.\n",
        ),
    ],
)
def test_exit_statuses(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(config.runs, "find_config", fail)
    assert run(monkeypatch, "config", "landmarks") == status
    assert capsys.readouterr().err.lstrip() == message


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """And not the hidden one beside it, nor nothing, as the system has it for a full disk."""
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "file" / "a.csv", "Not a directory|File exists"),
        (tmp_path / ("b" * 300), "File name too long"),
    ):
        with pytest.raises(OSError, match=reason) as error:
            write_atomically(path, b"")
        assert error.value.filename == str(path)
    with pytest.raises(OSError, match="No space left") as error:
        write_full(tmp_path / "c.csv")
    assert error.value.filename == str(tmp_path / "c.csv")


def write_full(path: Path) -> None:
    """Write as if the disk were full."""

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", full)
        write_atomically(path, b"")


@pytest.mark.parametrize(
    "words",
    [
        "predict --crops --images {photos} --weights {weights} --passes 1 --out {out}",
        "align --crops {photos} --landmarks resize --out {out}",
        "export {weights} --out {out}.safetensors",
        "report {results} --out {out}",
        "detect --images {photos} --out {out}",
    ],
)
def test_a_full_disk_is_one_sentence(
    words: str,
    tmp_path: Path,
    tiny_weights: Path,
    small_files: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Which names what has no room; nothing is left behind of it."""
    (tmp_path / "photos").mkdir()
    Image.effect_noise((24, 24), 50).convert("RGB").save(tmp_path / "photos" / "a.png")
    Result("A", tables=(Table("T", ("a",), (("b",),)),)).save(tmp_path / "results" / "a.json")
    places = {name: tmp_path / name for name in ("photos", "results", "out")}
    given = words.format(weights=tiny_weights, **places).split()
    with small_files(10):
        done = CliRunner().invoke(main.cli, given)
    assert isinstance(done.exception, OSError | InputError)
    told = f"{done.stderr} {getattr(done.exception, 'filename', '')} {done.exception}"
    assert str(tmp_path / "out") in told
    assert "File too large" in told
    left = [path for path in tmp_path.rglob("*") if path.is_file() and "out" in path.parts[-2:]]
    assert left == []


def test_pictures_without_room_lose_no_table(
    tmp_path: Path,
    tiny_weights: Path,
    small_files: Callable[[int], AbstractContextManager[None]],
) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / "a.png")
    words = ["predict", "--crops", "--images", str(tmp_path / "a.png"), "--passes", "1"]
    words += ["--weights", str(tiny_weights), "--draw", str(tmp_path / "drawn")]
    with small_files(3000):
        done = CliRunner().invoke(main.cli, [*words, "--out", str(tmp_path / "out.csv")])
    assert "2 of 2 pictures could not be drawn" in str(done.exception)
    assert "a-faces.jpg cannot be written (File too large)" in done.stderr
    assert "all-faces.jpg cannot be written (File too large)" in done.stderr
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("a.png,0,0,64,64,")
