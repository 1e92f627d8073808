"""Later times that are added to a store of one time series."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from configs import layout
from data_prep.store.arrays import array, open_store, strings, time_step, times
from data_prep.store.block_writer import BlockWriter
from data_prep.store.blocks import Blocks
from data_prep.store.gather.merge import Sums
from data_prep.store.gather.moments import Moments
from data_prep.store.outputs import link_or_copy
from data_prep.store.spec import StoreSpec
from data_prep.store.statistics import PartsOfFields, RecordedParts
from sphere_ops.grid import Grid

_MAY_DIFFER = frozenset({"times", "splits"})
"""Settings of the data that may differ between the store and the times that are added."""


class Extension:
    """Store of one time series, and the later times that are added to it.

    Attributes:
        spec: Specification of the longer store.
        first: Number of times of the store, the index of the first new time.
        trains: True if new times belong to the training split.
    """

    def __init__(self, path: Path, spec: StoreSpec) -> None:
        """Check that the times of a specification can be added to a store.

        Args:
            path: Path of the store.
            spec: Specification of the new times.

        Raises:
            FileNotFoundError: if there is no store.
            ValueError: if grid, channels, mask, calendar or settings differ, if the times are not
                later, or if the store has trajectories.
        """
        self._group, self._path = open_store(path), path
        self._refuse_others(spec)
        self._blocks = Blocks(self._group)
        time, new = times(self._group), spec.time.astype("datetime64[ns]")
        label = time_step(self._group).calendar.label
        if not (new > time[-1]).all():
            raise ValueError(
                f"{path} has times up to {label(time[-1])}, and the new ones begin at "
                f"{label(new[0])}; give later times only, with data.times.first"
            )
        self.first, self.trains = len(time), "train" in spec.split
        fields = self._blocks.fields
        rows = -(-fields.shape[-2] // fields.chunks[-2])
        origin = json.loads(str(self._group.attrs[layout.PROVENANCE]))
        self.spec = replace(
            spec,
            time=np.concatenate([time, new]),
            split=[*strings(self._group, layout.SPLIT), *spec.split],
            sources=[*origin["sources"], *spec.sources],
            block_times=self._blocks.block_times,
            row_chunks=rows,
        )

    @property
    def sums(self) -> tuple[Sums, int] | None:
        """Sums over the complete blocks of the store and their number; None if it has none."""
        if layout.BLOCKS not in self._group:
            return None
        sums = RecordedParts(self._group).sums()
        return None if sums is None else (sums, self._blocks.n_whole)

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Mask of the store, (channel, nlat, nlon); None if it has none."""
        if layout.MASK not in self._group:
            return None
        return np.asarray(array(self._group, layout.MASK)[...]) == 1

    def take_over(self, handle: BlockWriter) -> None:
        """Put the files of complete blocks into the unfinished store, and mark them as complete.

        The states of an incomplete block are kept, to be written again with the new ones.
        """
        recorded = layout.BLOCKS in self._group
        parts = RecordedParts(self._group) if recorded else PartsOfFields(self._blocks)
        nothing = Moments.empty(self._blocks.fields.shape[-3])
        for block in self._blocks:
            if block.stop - block.start < self._blocks.block_times:
                handle.keep_earlier(self._blocks.read(block))
                continue
            link_or_copy(self._blocks.file(block), handle.blocks.file(block))
            step = parts.step_into(block) if self._blocks.joins(block) else nothing
            handle.take_over(block, parts.part(block), step)
        attrs, added = self._group.attrs, handle.group.attrs
        now, n_new = str(added["history"]).split()[0], len(self.spec.time) - self.first
        handle.group.attrs.update(
            {
                "title": attrs["title"],
                "history": f"{attrs['history']}\n{now} {n_new} times added by sphere-forecast",
                layout.PLAN: [*as_list(attrs.get(layout.PLAN)), *as_list(added.get(layout.PLAN))],
            }
        )

    def keep_other_arrays(self, store: Path) -> None:
        """Link the arrays that only the store has, such as a climatology, into the longer one."""
        for folder in self._path.iterdir():
            if folder.is_dir() and not (store / folder.name).exists():
                link_or_copy(folder, store / folder.name)

    def _refuse_others(self, spec: StoreSpec) -> None:
        group = self._group
        if layout.TRAJECTORY in group or spec.trajectories is not None:
            raise ValueError(f"{self._path} has trajectories; only a time series can be extended")
        mask = np.asarray(array(group, layout.MASK)[...]) == 1 if layout.MASK in group else None
        static = strings(group, layout.CHANNEL_STATIC) if layout.STATIC in group else []
        axes = (np.asarray(array(group, n)[...]) for n in (layout.LATITUDE, layout.LONGITUDE))
        step = time_step(group)
        facts: dict[str, tuple[Any, Any]] = {
            "grid": (Grid.from_coordinates(*axes), spec.grid),
            "channels": (strings(group, layout.CHANNEL), [v.name for v in spec.channels]),
            "units": (strings(group, "channel_units"), [v.units for v in spec.channels]),
            "roles": (strings(group, "channel_role"), [v.role for v in spec.channels]),
            "static fields": (static, [v.name for v in spec.static]),
            "time step": (step.label, spec.time_step),
            "calendar": (step.calendar.name, step.parse("1d", spec.calendar).calendar.name),
            "moving mask": (str(group.attrs.get(layout.MOVING_MASK, "")),
                            " ".join(spec.moving_mask)),
            **_settings(str(group.attrs[layout.CONFIGURATION]), spec.configuration),
        }  # fmt: skip
        for name, (held, new) in facts.items():
            if held != new:
                raise ValueError(
                    f"{self._path} has {name} {_show(held)}, and the times to add "
                    f"have {_show(new)}; add times with the settings of the store, or make another"
                )
        fixed = [v.name not in spec.moving_mask for v in spec.channels]
        if (mask is None) != (spec.mask is None) or not (
            mask is None or spec.mask is None or np.array_equal(mask[fixed], spec.mask[fixed])
        ):
            raise ValueError(
                f"the mask of the times to add differs from that of {self._path}; their missing "
                "values must be at the same points"
            )


def as_list(values: Any) -> list[str]:
    """Return the plans of a store, one for each time that times were added."""
    return [] if values is None else [values] if isinstance(values, str) else list(values)


def _settings(held: str, new: str) -> dict[str, tuple[Any, Any]]:
    """Return the settings that the store and the new times must have in common."""
    before, after = yaml.safe_load(held) or {}, yaml.safe_load(new) or {}
    keys = [key for key in {**before, **after} if key not in _MAY_DIFFER]
    return {f"data.{key}": (before.get(key), after.get(key)) for key in keys}


def _show(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
