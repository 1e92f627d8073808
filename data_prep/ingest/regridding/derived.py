"""Channels that are computed from others: vorticity and divergence from winds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.variables import Variable
from data_prep.ingest.regridding.winds import vorticity_divergence
from sphere_ops.grid import EARTH_RADIUS, Grid


@dataclass(frozen=True)
class WindPair:
    """Winds of one level, from which vorticity and divergence follow.

    Attributes:
        u: Name of the eastward wind.
        v: Name of the northward wind.
        outputs: Names of the vorticity and of the divergence.
    """

    u: str
    v: str
    outputs: tuple[str, str]

    @staticmethod
    def of(channel: Variable) -> WindPair:
        """Return the winds of a channel of vorticity or divergence."""
        level = channel.name.removeprefix(channel.base)
        return WindPair(f"u{level}", f"v{level}", (f"vo{level}", f"d{level}"))


def with_vorticity_divergence(
    fields: NDArray[np.float32],
    inputs: Sequence[Variable],
    channels: Sequence[Variable],
    pairs: Sequence[WindPair],
    grid: Grid,
) -> NDArray[np.float32]:
    """Return the channels of a store from what was read.

    Args:
        fields: Fields of the inputs, (time, input, nlat, nlon).
        inputs: What was read.
        channels: Channels of the store.
        pairs: Winds from which channels are computed.
        grid: Grid of the fields.

    Returns:
        Fields (time, channel, nlat, nlon).
    """
    if not pairs:
        return fields
    found = {v.name: fields[:, i] for i, v in enumerate(inputs)}
    for pair in pairs:
        u, v = found[pair.u], found[pair.v]
        try:
            computed = vorticity_divergence(u, v, grid, EARTH_RADIUS)
        except ValueError as error:
            raise ValueError(
                f"{' and '.join(pair.outputs)} of {pair.u} and {pair.v}: {error}"
            ) from None
        found |= zip(pair.outputs, computed, strict=True)
    return np.stack([found[v.name] for v in channels], axis=1).astype(np.float32, copy=False)
