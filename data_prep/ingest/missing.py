"""Missing values of the channels: masks, and checks against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from configs.schema import FilesData
from configs.variables import Variable
from data_prep.ingest.plan import Plan
from data_prep.store.arrays import array
from data_prep.store.blocks import Block
from data_prep.store.outputs import written_beside


@dataclass(frozen=True)
class ValidPoints:
    """Record of the points at which channels of a moving mask ever have values.

    Each block has a file, so that a run that goes on knows the points of earlier blocks.

    Attributes:
        folder: Folder of the files, kept until the store is complete.
        channels: Indices of the channels.
    """

    folder: Path
    channels: tuple[int, ...]

    def record(self, block: Block, fields: NDArray[np.float32]) -> None:
        """Record the points of a block of fields, (time, channel, nlat, nlon)."""
        if self.channels:
            points = np.isfinite(fields[:, list(self.channels)]).any(axis=0)
            out = self.folder / f"valid-{block.name}.npy"
            with written_beside(out, replace=True) as path, path.open("wb") as file:
                np.save(file, points)

    def put(self, group: zarr.Group, earlier: NDArray[np.bool_] | None) -> None:
        """Write the mask of the channels to a store.

        Args:
            group: Store.
            earlier: Mask of the store that is extended, (channel, nlat, nlon); None for a new one.
        """
        if not self.channels:
            return
        every = [np.load(file) for file in sorted(self.folder.glob("valid-*.npy"))]
        mask = array(group, layout.MASK)
        values = np.asarray(mask[...]) == 1
        for i, c in enumerate(self.channels):
            values[c] = np.any([points[i] for points in every], axis=0)
            if earlier is not None:
                values[c] |= earlier[c]
        mask[...] = values.astype(np.int8)


def first_mask(
    first: NDArray[np.float32], channels: Sequence[Variable], config: FilesData
) -> NDArray[np.bool_] | None:
    """Return the mask of the channels at the first time; None if none has missing values declared.

    The mask of a channel of `data.moving_mask` begins as True everywhere.

    Args:
        first: Fields of the first time, (channel, nlat, nlon).
        channels: Channels.
        config: Settings.

    Raises:
        ValueError: if a masked channel has no values.
    """
    if not (config.mask or config.moving_mask):
        return None
    mask = np.ones(first.shape, dtype=bool)
    for c, channel in enumerate(channels):
        if channel.name in config.mask:
            mask[c] = np.isfinite(first[c])
            if not mask[c].any():
                raise ValueError(
                    f"{channel.name} has no value at all at the first time; check the files"
                )
    return mask


def check_missing(
    fields: NDArray[np.float32], mask: NDArray[np.bool_] | None, plan: Plan, block: Block
) -> None:
    """Raise a ValueError for missing values that differ from the mask.

    Args:
        fields: Fields of a block, (time, channel, nlat, nlon).
        mask: Mask, (channel, nlat, nlon), or None.
        plan: Plan, which names the source of a value.
        block: The block.
    """
    valid = np.isfinite(fields)
    expected = np.True_ if mask is None else mask
    wrong = valid != expected
    if not wrong.any():
        return
    for c, channel in enumerate(plan.channels):
        if channel.name in plan.config.moving_mask or not wrong[:, c].any():
            continue
        t = int(wrong[:, c].any(axis=(-2, -1)).argmax())
        name, count = channel.name, int(wrong[t, c].sum())
        path = source_of(plan, name, block.start + t)
        time = plan.step.calendar.label(plan.time[block.start + t])
        where = f"{name} at {time} in {path}"
        if mask is None or mask[c].all():
            raise ValueError(
                f"{where} has {count} missing values; if they are missing at all times (land), "
                f"declare data.mask=[{name}], if at some times (sea ice) "
                f"data.moving_mask=[{name}], otherwise fill them first"
            )
        raise ValueError(
            f"{where} is missing at other points than at the first time ({count} of them); a mask "
            "has to be constant in time, so fill values that are missing at some times only, or "
            f"declare data.moving_mask=[{name}]"
        )


def source_of(plan: Plan, name: str, time: int) -> str:
    """Return the path of a source of a channel at a time of the store."""
    names = [v.name for v in plan.inputs]
    if name not in names:  # computed from winds
        name = next(pair.u for pair in plan.pairs if name in pair.outputs)
    for term in plan.recipes[names.index(name)].terms:
        if time in term.target:
            return term.field.path
    return "the sources"
