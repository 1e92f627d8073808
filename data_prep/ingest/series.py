"""Time series of a channel over all files, read onto one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.calendar import Times
from configs.schema import FilesData
from configs.time_axis import select_times
from configs.timestep import TimeStep
from configs.variables import Variable
from data_prep.ingest.coordinates import pressure_levels
from data_prep.ingest.fields import FileField, base_name, find_fields
from data_prep.ingest.readers import Files, grib_names
from data_prep.ingest.regrid import FileGrid, Regridder
from data_prep.ingest.times import common_calendar
from sphere_ops.grid import Grid

_VECTORS = frozenset({"eastward_wind", "northward_wind"})
_READ_BYTES = 64 * 2**20


class Regridding:
    """Regridding from the grids of files to one grid, with one cached map for each."""

    def __init__(self, target: Grid) -> None:
        """Start without maps.

        Args:
            target: Grid of the result.
        """
        self.target = target
        self._known: dict[Any, Regridder | None] = {}

    def __call__(
        self, fields: NDArray[np.floating], source: FileGrid, channel: Variable
    ) -> NDArray[np.floating]:
        """Regrid fields (n, nlat, nlon) in the canonical order to the target grid."""
        key = (source.latitude.tobytes(), source.nlon, source.first_longitude)
        if key not in self._known:
            same = source.grid == self.target
            self._known[key] = None if same else Regridder(source, self.target)
        regridder = self._known[key]
        if regridder is None:
            return fields
        return regridder(fields, vector=channel.standard_name in _VECTORS)


@dataclass(frozen=True, eq=False)
class Series:
    """Time series of a channel over all files.

    Attributes:
        channel: Channel.
        fields: Values of the channel in each file.
        time: Times in ascending order, datetime64[ns], (n,).
        field: Index into `fields` for each time, (n,).
        index: Index into the times of that field for each time, (n,).
    """

    channel: Variable
    fields: Sequence[FileField]
    time: Times
    field: NDArray[np.intp]
    index: NDArray[np.intp]

    def read(self, files: Files, times: slice, to_grid: Regridding) -> NDArray[np.float32]:
        """Read some times onto one grid.

        Args:
            files: Open files.
            times: Range of indices into `time`.
            to_grid: Regridding to the grid of the result.

        Returns:
            Fields (n, nlat, nlon) in the units of the channel, NaN where missing.
        """
        which, index = self.field[times], self.index[times]
        out = np.empty((len(which), *to_grid.target.shape), dtype=np.float32)
        for number in np.unique(which):
            field = self.fields[number]
            # The grid of a file may be much finer than that of the store: read in bounded parts.
            n = max(1, _READ_BYTES // (8 * field.grid.nlat * field.grid.nlon))
            here = np.flatnonzero(which == number)
            for part in np.split(here, range(n, len(here), n)):
                out[part] = to_grid(field.read(files, index[part]), field.grid, self.channel)
        return out


def find_series(files: Files, sources: list[Path], channel: Variable, config: FilesData) -> Series:
    """Find a channel in all files, and sort its times.

    Raises:
        ValueError: if no file holds the channel, or two files hold it at one time.
    """
    exact = config.grid is None
    fields = [
        field
        for path in sources
        for field in find_fields(files, path, channel, config, exact_grid=exact)
    ]
    if not fields:
        raise not_found(files, sources, channel)
    time = np.concatenate([field.time for field in fields])
    which = np.concatenate([np.full(len(f.time), i, np.intp) for i, f in enumerate(fields)])
    index = np.concatenate([np.arange(len(f.time)) for f in fields])
    order = np.argsort(time, kind="stable")
    time, which, index = time[order], which[order], index[order]
    twice = np.flatnonzero(time[1:] == time[:-1])
    if len(twice):
        where = sorted({str(fields[which[k]].path) for k in (twice[0], twice[0] + 1)})
        raise ValueError(
            f"{channel.name} occurs twice at {fields[0].calendar.label(time[twice[0]])} (in "
            f"{' and '.join(where)}), a duplicate on the time axis; give each time once"
        )
    return Series(channel, fields, time, which, index)


def not_found(files: Files, sources: list[Path], channel: Variable) -> ValueError:
    """Return the error of a channel that no file holds; it lists the variables of the files."""
    held: dict[str, set[float]] = {}
    for path in sources:
        if not files[path]:  # GRIB file without data sets of interest
            held.update({name: set() for name in grib_names(path)})
        for dataset in files[path]:
            for key, array in dataset.data_vars.items():
                if array.ndim >= 2 and not str(key).endswith(("_bnds", "_bounds")):
                    levels = pressure_levels(dataset, str(key))[1]
                    held.setdefault(str(key), set()).update(np.round(levels, 4).tolist())
    described = [
        f"{name} (at {', '.join(f'{level:g}' for level in sorted(levels))} hPa)" if levels else name
        for name, levels in sorted(held.items())
    ]
    what = f"{base_name(channel)} at {channel.level} hPa" if channel.level else channel.long_name
    return ValueError(
        f"{channel.name} ({what}) is not in the files; "
        + (
            f"they have {'; '.join(described)}; if one of these is it, give "
            f"data.rename.NAME={channel.name}"
            if described
            else "they have no variable on latitude and longitude; give other files"
        )
    )


def on_common_times(series: list[Series], config: FilesData) -> tuple[list[Series], TimeStep]:
    """Return the series at the chosen times, and the time step in the calendar of the files.

    Raises:
        ValueError: if channels have different times or calendars, or the times cannot be chosen.
    """
    calendar = common_calendar({str(f.path): f.calendar for one in series for f in one.fields})
    step, time = TimeStep.parse(config.time_step, calendar.name), series[0].time
    for one in series[1:]:
        alone = np.setxor1d(time, one.time)
        if len(alone):
            has, lacks = (series[0], one) if alone[0] in time else (one, series[0])
            raise ValueError(
                f"{lacks.channel.name} has no field at {calendar.label(alone[0])} where "
                f"{has.channel.name} has one; give files of the same times for all variables"
            )
    at = select_times(time, config.times, step)
    chosen = [
        replace(one, time=time[at], field=one.field[at], index=one.index[at]) for one in series
    ]
    return chosen, step
