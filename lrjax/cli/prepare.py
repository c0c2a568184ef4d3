"""`lrjax prepare`: from a dataset's official files to records."""

import contextlib
import importlib
import io
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import click
import tensorflow_datasets as tfds

import lrjax.tfds_builders
from lrjax.cli.options import settings_option
from lrjax.config import override, to_dict
from lrjax.data.identities import load_identities
from lrjax.errors import InputError
from lrjax.files import exclusively
from lrjax.tfds_builders.common import REPORT_FILE, RecordBuilder, Report

DATASETS = tuple(
    sorted(
        path.parent.name
        for path in pathlib.Path(lrjax.tfds_builders.__path__[0]).glob("*/*_dataset_builder.py")
    )
)
"""A dataset is a folder with a builder."""
NAMES_SHOWN = 3


def builder_class(name: str) -> type[RecordBuilder]:
    """The TFDS builder of a dataset."""
    return importlib.import_module(f"lrjax.tfds_builders.{name}.{name}_dataset_builder").Builder


def prepare_dataset(
    name: str,
    data_dir: pathlib.Path,
    manual_dir: pathlib.Path | None = None,
    force: bool = False,
    settings: Sequence[str] = (),
) -> bool:
    """Prepares a dataset unless it is prepared; whole, or not at all.

    Args:
      name: one of DATASETS.
      data_dir: records go to `<data_dir>/<name>/<version>`.
      manual_dir: the official files; by default the dataset's folder in $LRJAX_DATA.
      force: replace what is prepared, once the new records are complete.
      settings: `field=value` for a dataset that has settings, such as synlr.

    Returns:
      Whether anything was written.

    Raises:
      InputError: if the official files are missing or unusable, the folder cannot be written, or a
        setting is not one of the dataset's.
    """
    builder_type = builder_class(name)
    chosen = _settings(name, builder_type, settings)
    target = builder_type(data_dir=data_dir).data_path
    if not force and (target / "dataset_info.json").exists():
        return False
    options = {"settings": chosen} if chosen is not None else {}
    if getattr(chosen, "source", None) is not None:
        if manual_dir is not None:
            raise InputError(
                f"The people of '{name}' are to come from {chosen.source} and from {manual_dir}; "
                "leave out the setting source or --manual-dir."
            )
        options["portraits"] = load_identities(chosen.source, data_dir)
    elif builder_type.FOLDERS:
        manual_dir = _manual_folder(name, manual_dir, builder_type)
    try:
        with _workplace(data_dir, name) as work:
            builder = builder_type(data_dir=work, **options)
            with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces temporary folders
                builder.download_and_prepare(
                    download_dir=work / "downloads",
                    download_config=tfds.download.DownloadConfig(
                        manual_dir=manual_dir, try_download_gcs=False
                    ),
                    file_format="array_record",
                )
            if target.exists():
                target.rmtree()
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(builder.data_path, target)
    except OSError as error:
        raise InputError(f"'{name}' cannot be prepared in {data_dir}: {error}.") from error
    return True


def _settings(name: str, builder_type: type[RecordBuilder], given: Sequence[str]) -> Any:
    """The dataset's settings with those that are given, or None if it has none."""
    settings_type = getattr(builder_type, "SETTINGS", None)
    defaults = settings_type() if settings_type is not None else None
    fields = _paths(to_dict(defaults)) if settings_type is not None else []
    for setting in given:
        if setting.partition("=")[0] not in fields:
            has = f"it has {', '.join(fields)}" if fields else "it has none"
            raise InputError(f"'{name}' has no setting {setting!r}; {has}.")
    return override(defaults, given) if settings_type is not None else None


def _paths(fields: dict[str, Any]) -> list[str]:
    return [
        path
        for name, value in fields.items()
        for path in ([f"{name}.{p}" for p in _paths(value)] if isinstance(value, dict) else [name])
    ]


@contextlib.contextmanager
def _workplace(data_dir: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
    """An empty folder to write in, removed at the end; the next run removes one left by a crash."""
    work = data_dir / f".preparing-{name}"
    work.mkdir(parents=True, exist_ok=True)
    with exclusively(work, f"preparing '{name}'"):
        for left in work.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield work
        finally:
            shutil.rmtree(work)


def _manual_folder(
    name: str, given: pathlib.Path | None, builder_type: type[RecordBuilder]
) -> pathlib.Path:
    layout = " ".join((builder_type.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split())
    if given is not None:
        if not given.is_dir() or not any(given.iterdir()):
            raise InputError(f"{given} is not a folder with files for '{name}': {layout}.")
        return given
    root = os.environ.get("LRJAX_DATA")
    candidates = [pathlib.Path(root) / folder for folder in builder_type.FOLDERS] if root else []
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    tried = f" ({' and '.join(map(str, candidates))}: not there)" if candidates else ""
    raise InputError(f"Name the folder of '{name}' with --manual-dir{tried}: {layout}.")


def describe(name: str, data_dir: pathlib.Path) -> str:
    """What is prepared: the faces per split, and everything that was left out, with the reason."""
    builder = builder_class(name)(data_dir=data_dir)
    folder = pathlib.Path(builder.data_dir)
    lines = [f"{name} {builder.version} in {folder}", ""]
    if not (folder / REPORT_FILE).exists():
        counts = {split: {"written": i.num_examples} for split, i in builder.info.splits.items()}
        return "\n".join(lines + _table(counts))
    report = Report.load(folder)
    lines += _table(report.counts)
    if report.skipped:
        lines += ["", "Left out:"]
        by_number = sorted(report.skipped.items(), key=lambda item: -len(item[1]))
        for reason, names in by_number:
            shown = ", ".join(list(names)[:NAMES_SHOWN])
            more = ", …" if len(names) > NAMES_SHOWN else ""
            lines.append(f"{len(names):8,}  {reason}: {shown}{more}")
        lines.append(f"All names: {folder / REPORT_FILE}")
    if report.notes:
        lines += ["", *report.notes]
    return "\n".join(lines)


def _table(counts: dict[str, dict[str, int]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in counts.values() for column in row))
    width = max(len("split"), *(len(split) for split in counts))
    lines = ["  ".join([f"{'split':{width}}", *columns])]
    for split, row in counts.items():
        cells = [f"{row.get(column, 0):{len(column)},}" for column in columns]
        lines.append("  ".join([f"{split:{width}}", *cells]))
    return lines


def default_data_dir() -> pathlib.Path:
    """Where prepared data live unless told otherwise, as for TFDS itself."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


@click.command()
@click.argument("name", type=click.Choice(DATASETS))
@click.option(
    "--manual-dir",
    type=click.Path(path_type=pathlib.Path),
    help="Folder of the official files. Default: the dataset's folder in $LRJAX_DATA.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=pathlib.Path),
    default=default_data_dir,
    show_default="$TFDS_DATA_DIR or ~/tensorflow_datasets",
    help="Where the records go.",
)
@settings_option
@click.option("--force", is_flag=True, help="Prepare again what is prepared.")
def prepare(
    name: str,
    manual_dir: pathlib.Path | None,
    data_dir: pathlib.Path,
    settings: tuple[str, ...],
    force: bool,
) -> None:
    """Turn the official files of the dataset NAME into records that training reads.

    Ends with the faces per split and with everything that was left out and why. Files that are
    missing or damaged are counted and named, never fatal, unless nothing at all can be read.

    synlr has settings: --set source=celeba:train makes it of a prepared dataset; its other fields
    are in the README of tfds_builders/synlr.
    """
    if not prepare_dataset(name, data_dir, manual_dir, force, settings):
        click.echo("Already prepared; --force prepares it again.")
    click.echo(describe(name, data_dir))
