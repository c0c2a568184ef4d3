"""Checkpoints of the whole state, by Orbax: atomic, the last few and the best one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from lrjax.errors import InputError
from lrjax.training.state import State


class Checkpoints:
    """The checkpoints of one run folder: `checkpoints/` (the last `keep`)."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = Path(folder).absolute() / "checkpoints"
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, enable_async_checkpointing=False
            ),
        )

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint."""
        return self._manager.latest_step()

    def save(self, state: State) -> None:
        """Save `state` under its own step; a no-op where that step is saved already."""
        step = int(state.step)
        if step != self.latest():
            self._manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, like: State, step: int | None = None) -> State:
        """The state of `step` (default: the newest), on the devices that `like` is on.

        Raises:
          InputError: the checkpoint does not fit the configuration.
        """
        step = self.latest() if step is None else step
        target: Any = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            return self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except (ValueError, KeyError) as error:
            raise InputError(
                f"The checkpoint {self.folder / str(step)} does not fit this configuration "
                f"({str(error).splitlines()[0]}); continue with the configuration in the run "
                "folder's config.json, or name another run folder."
            ) from error

    def close(self) -> None:
        """Wait for what is being written."""
        self._manager.close()
