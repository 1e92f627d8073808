"""Vectors, such as the wind, that are scored beside the channels that are their components."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COMPONENTS = (("eastward_wind", "northward_wind", "wind"), ("u", "v", "wind"))
"""Names of the components and of the vector, without the level or height that follows."""

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Vectors:
    """Pairs of channels that are the components of vectors.

    The square of a vector's error is the sum of those of its components.

    Attributes:
        names: Names of the vectors, such as wind500.
        long_names: Descriptions.
        pairs: Places of the components among the channels, int (v, 2).
    """

    names: tuple[str, ...]
    long_names: tuple[str, ...]
    pairs: NDArray[np.int64]

    @classmethod
    def among(
        cls, channels: Mapping[str, str], points: NDArray[np.bool_], moving: NDArray[np.bool_]
    ) -> Vectors:
        """Find the pairs whose two components have the same points at all times.

        Args:
            channels: Descriptions of the channels by name, in their order.
            points: Points of each channel, (c, ...).
            moving: True for channels whose points change, (c,).
        """
        names, long_names, pairs = [], [], []
        place = {name: c for c, name in enumerate(channels)}
        for east, north, vector in _COMPONENTS:
            for name in place:
                level = name.removeprefix(east)
                partner = place.get(north + level)
                if partner is None or name != east + level or not _is_level(level):
                    continue
                pair = place[name], partner
                if np.array_equal(*points[[*pair]]) and not moving[[*pair]].any():
                    names.append(vector + level)
                    long_names.append(re.sub("eastward wind", "Wind", channels[name], flags=re.I))
                    pairs.append(pair)
        places = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return cls(tuple(names), tuple(long_names), places)

    def components(self, values: Array) -> Array:
        """Return the values of components, (n, 2, k, v, r), from those of channels (n, k, c, r)."""
        return np.moveaxis(values[:, :, self.pairs], 3, 1)

    def with_points(self, values: NDArray[Any]) -> NDArray[Any]:
        """Append the values of the first component of each vector to channels' (..., c)."""
        return np.concatenate([values, values[..., self.pairs[:, 0]]], axis=-1)


def _is_level(text: str) -> bool:
    """Return True for nothing, a pressure in hPa, or a height in m."""
    return not text or text.removesuffix("m").isdigit()
