"""Winds of a forecast of vorticity and divergence, for its file."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from configs.variables import Variable, variable
from sphere_ops.grid import Grid
from sphere_ops.harmonics.winds import winds
from sphere_ops.parallel.mesh import current

_NAMES = (
    ("vorticity", "divergence", "eastward_wind", "northward_wind"),
    ("vo", "d", "u", "v"),  # followed by a level
)


class ForecastWinds:
    """Winds of every pair of channels of vorticity and divergence, such as vo500 and d500.

    Attributes:
        variables: Eastward and northward wind of each pair.
    """

    def __init__(
        self, channels: Sequence[Variable], grid: Grid, radius: float, valid: Tensor | None
    ) -> None:
        """Find the pairs.

        Args:
            channels: Channels of the forecast.
            grid: Grid of the forecast.
            radius: Radius of the sphere, m.
            valid: Points at which channels have values, bool (c, nlat, nlon), in a mesh this rank's
                rows; None for everywhere.

        Raises:
            ValueError: if there is no pair whose winds are not forecast themselves, or one has a
                mask.
        """
        self._grid, self._radius = grid, radius
        place = {channel.name: c for c, channel in enumerate(channels)}
        self._pairs: list[tuple[int, int]] = []
        names: list[str] = []
        for vorticity, divergence, *wind in _NAMES:
            for name in place:
                level = name.removeprefix(vorticity)
                pair, wanted = (vorticity + level, divergence + level), [w + level for w in wind]
                if name == pair[0] and pair[1] in place and not place.keys() & set(wanted):
                    self._pairs.append((place[pair[0]], place[pair[1]]))
                    names += wanted
        if not names:
            raise ValueError(
                f"winds of a forecast of {', '.join(place)}; expected pairs of vorticity and "
                "divergence (vo500 and d500, or vorticity and divergence) without their winds: "
                "leave out --winds"
            )
        for c in sum(self._pairs, ()):
            if current().any_rank(valid is not None and not bool(valid[c].all())):
                raise ValueError(
                    f"{channels[c].name} has a mask, and winds follow from vorticity and "
                    "divergence on the whole sphere only: leave out --winds"
                )
        self.variables = tuple(variable(name) for name in names)

    def __call__(self, fields: Tensor) -> Tensor:
        """Return the winds, (b, 2 · pairs, nlat, nlon) in m s⁻¹, of fields (b, c, nlat, nlon)."""
        vorticity, divergence = (fields[:, list(c)] for c in zip(*self._pairs, strict=True))
        pair = winds(vorticity, divergence, self._grid, self._radius)  # each (b, pair, h, w)
        return torch.stack(pair, dim=2).flatten(1, 2)
