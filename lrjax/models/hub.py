"""Weights by name: "hub:OWNER/NAME/FILE@SHA256", from this machine first.

FILE and SHA256 may be left out.

A name is looked for in the folder `$LRJAX_HUB` (as OWNER/NAME/FILE there), then in Hugging Face's
own cache, and only then on its hub, or on the mirror that `$HF_ENDPOINT` names. Where a checksum is
given, no other file is taken. Only safetensors are: nothing in them is run.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from lrjax.errors import InputError

PREFIX = "hub:"
DEFAULT = "model.safetensors"
"""The file of a repository, unless one is named."""

_PART = r"[A-Za-z0-9_][\w.-]*"
_NAME = re.compile(
    rf"hub:(?P<repository>{_PART}/{_PART})(?:/(?P<file>(?:{_PART}/)*{_PART}\.safetensors))?"
    r"(?:@(?P<digest>[0-9a-fA-F]{64}))?",
    re.ASCII,
)


def is_name(source: str | Path) -> bool:
    """Tell whether weights are named as in this module."""
    return str(source).startswith(PREFIX)


def resolve(source: str | Path) -> Path:
    """Find the file of a name, downloading it if it is not on this machine.

    Raises:
      InputError: it is no such name, the file cannot be had, or has another checksum.
    """
    named = _NAME.fullmatch(str(source))
    if named is None:
        raise InputError(
            f"{source} names no weights; write hub:OWNER/NAME, hub:OWNER/NAME/FILE.safetensors, or "
            "either with @ and the 64 digits of its SHA-256."
        )
    repository, file = named["repository"], named["file"] or DEFAULT
    wanted = (named["digest"] or "").lower()
    other = None
    for online in (None, False, True):
        path = _mirrored(repository, file) if online is None else _hub(repository, file, online)
        if path is None:
            continue
        found = _digest(path) if wanted else ""
        if found == wanted:
            return path
        other = f"{path} has the SHA-256 {found}"
    if other is not None:
        raise InputError(f"{source} is another file here: {other}; check the name, or remove it.")
    raise InputError(f"{source} has no file {file}; check the name.")


def _mirrored(repository: str, file: str) -> Path | None:
    folder = os.environ.get("LRJAX_HUB")
    path = Path(folder, repository, file) if folder else None
    return path if path is not None and path.is_file() else None


def _hub(repository: str, file: str, online: bool) -> Path | None:
    """The file in Hugging Face's cache, or from its hub; None if it is not in the cache."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError as error:
        if not online:
            return None
        raise InputError(
            f"{repository}/{file} is not in $LRJAX_HUB, and the hub needs huggingface_hub; pip "
            "install 'lrjax[hub]', or put the file there."
        ) from error
    try:
        return Path(hf_hub_download(repository, file, local_files_only=not online))
    except LocalEntryNotFoundError as error:
        if not online:
            return None
        raise _unreachable(repository, file, error) from error
    except Exception as error:  # of the network, of the hub, of its client
        raise _unreachable(repository, file, error) from error


def _unreachable(repository: str, file: str, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
    return InputError(
        f"{file} of {repository} is not on this machine and cannot be had from the hub ({reason}); "
        "check the name and the network, or put the file in $LRJAX_HUB."
    )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
