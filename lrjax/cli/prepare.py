"""`lrjax prepare`: turn a dataset's official files into records."""

import contextlib
import importlib
import io
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from lrjax import tfds_builders
from lrjax.cli.options import DataDir, Flag, Settings, command
from lrjax.cli.say import put
from lrjax.config import field_paths, override, to_dict
from lrjax.data.identities import load_identities
from lrjax.errors import InputError, did_you_mean
from lrjax.files import exclusively
from lrjax.tfds_builders.common import REPORT_FILE, RecordBuilder, Report

NAMES_SHOWN = 3


def datasets() -> list[str]:
    """List the datasets: each is a folder with a builder."""
    folders = [Path(folder) for folder in tfds_builders.__path__]
    found = (path for folder in folders for path in folder.glob("*/*_dataset_builder.py"))
    return sorted({path.parent.name for path in found})


def builder_class(name: str) -> type[RecordBuilder]:
    """Import the TFDS builder of a dataset, which is named or in a folder of a user's.

    Raises:
      InputError: there is none; those that exist are named.
    """
    folder = Path(name)
    dataset = folder.name
    if name not in datasets() and (folder / f"{dataset}_dataset_builder.py").is_file():
        if (Path(tfds_builders.__file__).parent / dataset).exists():
            raise InputError(f"There is {dataset!r} in lrjax already; give {folder} another name.")
        # It is then imported as one of ours, and may use what they share, as `..common`.
        tfds_builders.__path__.append(str(folder.resolve().parent))
    elif name not in datasets():
        raise InputError(
            f"There is no dataset {name!r}{did_you_mean(name, datasets())}; there are "
            f"{', '.join(datasets())}, or name a folder with a builder, such as path/to/mine that "
            "holds mine_dataset_builder.py."
        )
    module = f"{tfds_builders.__name__}.{dataset}.{dataset}_dataset_builder"
    return importlib.import_module(module).Builder


def prepare_dataset(
    name: str,
    data_dir: Path,
    manual_dir: Path | None = None,
    force: bool = False,
    settings: Sequence[str] = (),
) -> bool:
    """Prepare a dataset unless it is prepared; whole, or not at all.

    Args:
      name: as for `builder_class`.
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
    name = builder_type.name
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
    except (OSError, RuntimeError) as error:
        reason = str(error)
        if isinstance(error, RuntimeError):
            # ArrayRecord tells of a full disk so: "write() failed: REASON; writing FILE".
            told = re.match(r"\w+\(\) failed: ([^;]+);", reason)
            if told is None:
                raise
            reason = told[1]
        raise InputError(
            f"'{name}' cannot be prepared in {data_dir} ({reason}); free it, or name another "
            "--data-dir."
        ) from error
    return True


def _settings(name: str, builder_type: type[RecordBuilder], given: Sequence[str]) -> Any:
    """The dataset's settings with those that are given, or None if it has none."""
    settings_type = getattr(builder_type, "SETTINGS", None)
    defaults = settings_type() if settings_type is not None else None
    fields = field_paths(to_dict(defaults)) if settings_type is not None else []
    for setting in given:
        if setting.partition("=")[0] not in fields:
            has = f"it has {', '.join(fields)}" if fields else "it has none"
            raise InputError(f"'{name}' has no setting {setting!r}; {has}.")
    return override(defaults, given) if settings_type is not None else None


@contextlib.contextmanager
def _workplace(data_dir: Path, name: str) -> Iterator[Path]:
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


def _manual_folder(name: str, given: Path | None, builder_type: type[RecordBuilder]) -> Path:
    layout = " ".join((builder_type.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split())
    if given is not None:
        if not given.is_dir() or not any(given.iterdir()):
            raise InputError(f"{given} is not a folder with files for '{name}': {layout}.")
        return given
    root = os.environ.get("LRJAX_DATA")
    candidates = [Path(root) / folder for folder in builder_type.FOLDERS] if root else []
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    tried = f" ({' and '.join(map(str, candidates))}: not there)" if candidates else ""
    raise InputError(f"Name the folder of '{name}' with --manual-dir{tried}: {layout}.")


def describe(name: str, data_dir: Path) -> str:
    """Say what is prepared: the faces per split, and what was left out, with the reasons."""
    builder = builder_class(name)(data_dir=data_dir)
    folder = Path(builder.data_dir)
    lines = [f"{builder.name} {builder.version} in {folder}", ""]
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


@command(
    manual_dir="Folder of the official files. Default: the dataset's folder in $LRJAX_DATA.",
    force="Prepare again what is prepared.",
)
def prepare(
    name: str | None = None,
    *,
    manual_dir: Path | None = None,
    data_dir: DataDir,
    settings: Settings = (),
    force: Flag = False,
) -> None:
    """Turn the official files of the dataset NAME into records that training reads.

    Ends with the faces per split and with everything that was left out and why. Files that are
    missing or damaged are counted and named, never fatal, unless nothing at all can be read.

    Without NAME, all datasets are listed. One of your own is named by its folder: path/to/mine
    holds mine_dataset_builder.py with a class Builder, like the folders in tfds_builders, and is
    then known as mine:SPLIT.

    synlr has settings: --set source=celeba:train makes it of a prepared dataset; its other fields
    are in the README of tfds_builders/synlr.
    """
    if name is None:
        put("\n".join(datasets()))
        return
    if not prepare_dataset(name, data_dir, manual_dir, force, settings):
        put("Already prepared; --force prepares it again.")
    put(describe(name, data_dir))
