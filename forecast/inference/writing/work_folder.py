"""Work folder of an unfinished forecast file, from which a rollout can go on.

A forecast is written in a folder beside its output (`.NAME.partial`): a zarr group, the identity of
the rollout, and states to go on from. Every rank of a mesh saves its part of a state, after the
pieces of the file that come before it. The newest state that all ranks have saved is the one to go
on from. Pieces after it are written again, with the same values. At the end the file moves to its
path, and the folder is removed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from data_prep.store.outputs import check_output, locked, remove

log = logging.getLogger(__name__)

_GROUP, _COPY, _STATES, _IDENTITY = "forecast.zarr", "copy", "states", "identity.json"
_OUTCOME = "outcome"
_LONGEST = 60
"""Length from which a value is left out of an error message, characters."""


@dataclass(frozen=True)
class SavedState:
    """State of a rollout to go on from.

    Attributes:
        first: first row of the batch.
        step: number of steps that are done; those of the whole rollout if the batch is complete.
        outcome: `Outcome` of all batches up to then, as JSON text.
        tensors: state of this rank's part of the batch; empty if the batch is complete.
    """

    first: int
    step: int
    outcome: str
    tensors: Mapping[str, Tensor]


class WorkFolder:
    """Work folder of one rank of the mesh that writes a forecast file.

    Attributes:
        path: path of the folder.
        group: path of the zarr group of the unfinished file.
        copy: path of the file that is made of the group at the end, if the group is not that file.
    """

    def __init__(
        self, output: Path, identity: Mapping[str, Any], rank: int = 0, ranks: int = 1
    ) -> None:
        """Refer to the folder; nothing is written.

        Args:
            output: path of the forecast file.
            identity: options and inputs that a rollout must share with the one that it goes on
                with, JSON-like values by their names.
            rank: number of this rank in the mesh.
            ranks: number of ranks.
        """
        self._output, self._rank, self._ranks = output, rank, ranks
        self._identity = json.loads(json.dumps(dict(identity)))
        self.path = output.absolute().parent / f".{output.name}.partial"
        self.group, self.copy = self.path / _GROUP, self.path / f"{_COPY}{output.suffix}"
        self._states = self.path / _STATES
        self._lock = ExitStack()

    def check_output(self, *, restart: bool) -> None:
        """Raise an error if the output exists, or an unfinished one to be gone on with."""
        check_output(self._output)
        if self._exists() and not restart:
            raise FileExistsError(
                f"{self.path} holds an unfinished forecast; go on with --restart, or remove the "
                "folder to begin again"
            )

    def check(self, *, restart: bool) -> None:
        """Raise an error if the output cannot be begun, or gone on with.

        Args:
            restart: True to go on with an unfinished forecast.

        Raises:
            FileExistsError: if the output exists, or an unfinished one and `restart` is False.
            ValueError: if the unfinished forecast is of another identity.
        """
        self.check_output(restart=restart)
        if not self._exists():
            return
        earlier = json.loads((self.path / _IDENTITY).read_text(encoding="utf-8"))
        differing = [
            f"{name}{_change(earlier.get(name), self._identity.get(name))}"
            for name in {**earlier, **self._identity}
            if earlier.get(name) != self._identity.get(name)
        ]
        if differing:
            raise ValueError(
                f"{self.path} holds an unfinished forecast that differs in {', '.join(differing)}; "
                "go on with the options and inputs of that one, or remove the folder to begin again"
            )

    def open(self, *, restart: bool) -> tuple[int, int] | None:
        """Lock the folder, which is created if needed; for the first rank.

        Returns:
            Batch and step of the state to go on from; None to begin with an empty folder.

        Raises:
            FileExistsError: if another process holds the lock; and as `check`.
            ValueError: as `check`.
        """
        self._lock.enter_context(locked(self.path))
        try:
            self.check(restart=restart)
            newest = self._newest() if self._exists() else None
            if newest is None:
                self._clear()
            else:
                self._drop_later(newest)
            return newest
        except BaseException:
            if not self._exists():
                remove(self.path)
            self._lock.close()
            raise

    def begin(self) -> None:
        """Write the identity into a new folder."""
        self._states.mkdir()
        scratch = self.path / f".{_IDENTITY}"
        scratch.write_text(json.dumps(self._identity, indent=1), encoding="utf-8")
        scratch.replace(self.path / _IDENTITY)

    def load(self, first: int, step: int) -> SavedState:
        """Return a state that this rank has saved.

        Raises:
            ValueError: if it is damaged.
        """
        path = self._state(first, step)
        try:
            with safe_open(path, framework="pt") as file:
                outcome = (file.metadata() or {})[_OUTCOME]
            return SavedState(first, step, outcome, load_file(path))
        except (SafetensorError, KeyError, OSError) as error:
            raise ValueError(
                f"{path} is damaged ({error}); remove the folder {self.path} to begin again"
            ) from error

    def save(self, state: SavedState) -> None:
        """Save this rank's part of a state, and remove those that no rank needs any more.

        Raises:
            OSError: if it cannot be written.
        """
        path = self._state(state.first, state.step)
        scratch = path.with_name(f".{path.name}")
        try:
            save_file(dict(state.tensors), scratch, metadata={_OUTCOME: state.outcome})
            scratch.replace(path)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        finally:
            scratch.unlink(missing_ok=True)
        newest = self._newest()
        for key in self._saved().get(self._rank, []):
            if newest is not None and key < newest:
                self._state(*key).unlink(missing_ok=True)

    def publish(self, made: Path) -> None:
        """Move the complete file to the output.

        Args:
            made: its path inside the folder.

        Raises:
            FileExistsError: if another process has written the output meanwhile.
        """
        check_output(self._output)
        made.rename(self._output)
        remove(self.path)

    def close(self) -> None:
        """Release the lock, and remove a folder that holds no state to go on from."""
        if self.path.exists():
            if self._exists():
                log.warning("the unfinished forecast in %s can go on with --restart", self.path)
            else:
                remove(self.path)
        self._lock.close()

    def _exists(self) -> bool:
        """Return True if there is an unfinished forecast with a state to go on from."""
        return self.group.is_dir() and (self.path / _IDENTITY).is_file() and bool(self._saved())

    def _saved(self) -> dict[int, list[tuple[int, int]]]:
        """Return (batch, step) of the states that each rank has saved."""
        found: dict[int, list[tuple[int, int]]] = {}
        with suppress(FileNotFoundError):
            for name in os.listdir(self._states):
                if not name.startswith("."):
                    first, step, rank, _ = name.split(".")
                    found.setdefault(int(rank), []).append((int(first), int(step)))
        return found

    def _newest(self) -> tuple[int, int] | None:
        """Return (batch, step) of the newest state that all ranks have; None without one."""
        saved = self._saved()
        if len(saved) < self._ranks:
            return None
        # All ranks save the same states in the same order.
        return min(max(keys) for keys in saved.values())

    def _drop_later(self, newest: tuple[int, int]) -> None:
        """Remove states after the one to go on from, and temporary files of killed processes."""
        for rank, keys in self._saved().items():
            for first, step in keys:
                if (first, step) > newest:
                    self._state(first, step, rank).unlink()
        for leftover in (*self._states.glob(".*"), *self.group.rglob("*.partial")):
            leftover.unlink(missing_ok=True)
        remove(self.copy)

    def _clear(self) -> None:
        for part in self.path.iterdir():
            if part.name != ".lock":
                remove(part)

    def _state(self, first: int, step: int, rank: int | None = None) -> Path:
        return self._states / f"{first}.{step}.{self._rank if rank is None else rank}.safetensors"


def _change(earlier: object, now: object) -> str:
    """Return two values in brackets, if they are short."""
    if max(len(str(earlier)), len(str(now))) > _LONGEST:
        return ""
    return f" ({earlier} there, {now} here)"
