"""Checkpoints of the whole state, by Orbax: atomic, and the last few."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from lrjax.errors import InputError
from lrjax.files import naming
from lrjax.models.weights import first_difference
from lrjax.training.state import State


class Checkpoints:
    """The checkpoints of one run folder: `checkpoints/` (the last `keep`)."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = Path(folder).absolute() / "checkpoints"
        self._manager = ocp.CheckpointManager(
            self.folder,
            item_handlers=ocp.StandardCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, enable_async_checkpointing=False
            ),
        )

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint."""
        return self._manager.latest_step()

    def save(self, state: State) -> None:
        """Save `state` under its own step; a no-op where that step is saved already.

        Raises:
          OSError: it cannot be written; its `filename` is that of the checkpoint.
        """
        step = int(state.step)
        if step == self.latest():
            return
        with naming(self.folder / str(step)):
            try:
                self._manager.save(step, args=ocp.args.StandardSave(state))
            except ValueError as error:  # of storage, which tells the system's number in its text
                code = re.search(r"os_error_code='(\d+)'", str(error))
                reason = os.strerror(int(code[1])) if code else _first_line(error)
                raise OSError(int(code[1]) if code else errno.EIO, reason) from error

    def restore_latest(self, like: State) -> State | None:
        """Return the newest state that reads whole, or None if there is none.

        A damaged checkpoint is named on standard error and removed, as the run will save its step
        again.

        Raises:
          InputError: the checkpoint does not fit the configuration, or all are damaged.
        """
        damaged = None
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state = self.restore(like, step)
            except InputError:
                raise
            except ValueError as error:  # of storage and of JSON, whatever the damage
                damaged = self.folder / str(step)
                reason = f"The checkpoint {damaged} is damaged ({_first_line(error)})"
                print(f"lrjax: {reason}; an older one is tried.", file=sys.stderr)
                continue
            for newer in self._manager.all_steps():
                if newer > step:
                    self._manager.delete(newer)
            return state
        if damaged is not None:
            raise InputError(
                f"No checkpoint in {self.folder} reads whole; begin anew with --restart, or name "
                "another run folder."
            )
        return None

    def restore(self, like: State, step: int | None = None) -> State:
        """Return the state of `step` (default: the newest), on the devices that `like` is on.

        Raises:
          InputError: the checkpoint does not fit the configuration.
          ValueError: it is damaged.
        """
        step = self.latest() if step is None else step
        # Orbax reads all arrays at once; when one of them does not fit, it abandons the others in
        # the middle. So what fits is found out from the description, before anything is read.
        saved = _described(self._manager.item_metadata(step))
        if not saved:
            raise ValueError("the description of its arrays is not there")
        wanted = _described(ocp.utils.serialize_tree(like, keep_empty_nodes=True))
        unfit = first_difference(saved, wanted)
        if unfit is not None:
            raise InputError(
                f"The checkpoint {self.folder / str(step)} does not fit this configuration: "
                f"{unfit}; continue with the configuration in the run folder's config.json, or "
                "name another run folder."
            )
        target: Any = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._manager.restore(step, args=ocp.args.StandardRestore(target))

    def close(self) -> None:
        """Wait for what is being written."""
        self._manager.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _described(tree: Any) -> dict[str, tuple[int, ...]]:
    """Name -> shape of each array; a random key is saved as its words."""
    return {
        ".".join(str(getattr(entry, "key", getattr(entry, "idx", None))) for entry in path): (
            jax.random.key_data(leaf).shape
            if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else tuple(leaf.shape)
        )
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
