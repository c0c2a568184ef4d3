"""Prepared records: opened by "dataset:split", thinned, damaged ones reported, contents hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds

from lrjax.errors import InputError


class Records(Protocol):
    """The records of a split, by their places; several are read faster in one call."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: int, /) -> dict[str, Any]: ...
    def __getitems__(self, places: Sequence[int], /) -> Sequence[dict[str, Any]]: ...


def has_split(spec: str, data_dir: Path) -> bool:
    """Tells whether the prepared dataset of "dataset:split" has that split.

    Raises:
      InputError: the dataset is not prepared, or damaged.
    """
    _, split, builder = _prepared(spec, data_dir)
    return _holds(builder, split)


def open_split(spec: str, data_dir: Path) -> Records:
    """Opens the records of "dataset:split" for random access, images still encoded.

    Raises:
      InputError: the dataset is not prepared or has no such split.
    """
    name, split, builder = _prepared(spec, data_dir)
    if not _holds(builder, split):
        raise InputError(
            f"'{name}' in {data_dir} has no split '{split}'; it has "
            f"{', '.join(builder.info.splits) or 'none'}."
        )
    return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})


def _prepared(spec: str, data_dir: Path) -> tuple[str, str, Any]:
    """The dataset and the split of "dataset:split", and what TFDS reads the dataset with."""
    name, _, split = spec.partition(":")
    if not name or not split:
        raise InputError(f"'{spec}' does not name a dataset and a split, such as 'w300:train'.")
    versions = sorted((data_dir / name).glob("*/dataset_info.json"), key=_version)
    if not versions:
        raise InputError(
            f"'{name}' is not prepared in {data_dir}; "
            f"run `lrjax prepare {name} --data-dir {data_dir}`."
        )
    try:
        return name, split, tfds.builder_from_directory(versions[-1].parent)
    except Exception as error:  # TFDS raises a dozen kinds for damaged descriptions
        raise damaged_records(name, data_dir) from error


def _holds(builder: Any, split: str) -> bool:
    try:
        builder.info.splits[split]
    except (ValueError, KeyError):
        return False
    return True


def open_rows(spec: str, data_dir: Path, limit: int | None) -> tuple[Records, np.ndarray]:
    """Opens a split and chooses at most `limit` of its rows, evenly spread: (records, rows [n]).

    Raises:
      InputError: as `open_split`, or the split is empty, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"The limit of {limit} records must be at least 1; leave it out for all.")
    records = open_split(spec, data_dir)
    total = len(records)
    if not total:
        raise InputError(f"'{spec}' in {data_dir} holds no pictures.")
    count = min(total, limit or total)
    return records, np.arange(count) * total // count


def listed(spec: str | Sequence[str]) -> list[str]:
    """Lists the specs of one or of several.

    Raises:
      InputError: there is none.
    """
    specs = [spec] if isinstance(spec, str) else list(spec)
    if not specs:
        raise InputError("No dataset is named; give one such as 'w300:train'.")
    return specs


def damaged_records(spec: str, data_dir: Path) -> InputError:
    """Makes the error to raise when the records of "dataset" or "dataset:split" are unreadable."""
    name = spec.partition(":")[0]
    return InputError(
        f"The records of '{name}' in {data_dir} are damaged; "
        f"run `lrjax prepare {name} --data-dir {data_dir} --force`."
    )


def hash_share(name: str, seed: int) -> float:
    """Gives a number in [0, 1) that only a name and a seed decide, evenly spread over names."""
    hashed = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64


def digest(parts: Iterable[bytes | memoryview]) -> str:
    """Makes one SHA-256 of several byte strings, each with its length."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()


def _version(info: Path) -> tuple[int, ...]:
    parts = info.parent.name.split(".")
    return tuple(int(part) for part in parts) if all(p.isdigit() for p in parts) else (-1,)
