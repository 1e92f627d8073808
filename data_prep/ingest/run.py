"""Ingestion of gridded files into a training store, block by block in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.load import dump_config
from configs.schema import FilesData
from configs.time_axis import assign_splits
from configs.variables import Variable, variable
from data_prep.ingest.fields import find_fields, names_of
from data_prep.ingest.readers import Files
from data_prep.ingest.series import Regridding, Series, find_series, not_found, on_common_times
from data_prep.store.outputs import check_output
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

_MOUNTAINS = (2000.0, 9000.0)  # plausible maximum of a global orography, m


def ingest(
    paths: Sequence[str | Path],
    config: FilesData,
    out: str | Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a training store from gridded files.

    Args:
        paths: netCDF, GRIB or zarr files; variables and times may be distributed over them in any
            way.
        config: Variables, grid, times and splits.
        out: Path of the store.
        progress: Callback with the numbers of times written and of all times.

    Returns:
        Path of the store.

    Raises:
        ValueError: if the files lack a variable, or if a variable has gaps, duplicate times,
            unknown units, undeclared missing values or no global grid.
        FileNotFoundError: if an input does not exist.
        FileExistsError: if the output exists.
    """
    out, sources = Path(out), [Path(path) for path in paths]
    check_output(out)
    channels = [variable(name) for name in config.variables]
    statics = [variable(name) for name in config.static]
    _check_names(config, channels, statics)
    wanted = set().union(*(names_of(v, config) for v in (*channels, *statics)))
    with Files(wanted) as files:
        series = [find_series(files, sources, channel, config) for channel in channels]
        series, step = on_common_times(series, config)
        time = series[0].time
        split = assign_splits(time, config.splits, step)
        grid = _target_grid(series, config)
        to_grid = Regridding(grid)
        first = np.concatenate([one.read(files, slice(0, 1), to_grid) for one in series])
        mask = _mask(first, config)
        used = sorted({field.path for one in series for field in one.fields})
        spec = StoreSpec(
            grid=grid,
            channels=tuple(channels),
            time=time,
            time_step=step.label,
            split=split.tolist(),
            title=f"Training store of {', '.join(config.variables)}",
            source=_source(files, used),
            configuration=dump_config(config),
            sources=[_origin(path) for path in used],
            static={v: _static(files, sources, v, config, to_grid) for v in statics},
            mask=mask,
            calendar=step.calendar.name,
        )
        with StoreWriter(out, spec) as writer:
            for times in writer.blocks():
                block = np.empty((times.stop - times.start, *first.shape), dtype=np.float32)
                for c, one in enumerate(series):
                    block[:, c] = one.read(files, times, to_grid)
                    _check_missing(block[:, c], None if mask is None else mask[c], one, times)
                writer.write_times(times, block)
                progress(times.stop, len(time))
            return writer.finalise()


def _check_names(config: FilesData, channels: list[Variable], statics: list[Variable]) -> None:
    """Raise a ValueError for channels in the wrong list of the configuration."""
    for channel in channels:
        if channel.role in ("static", "forcing"):
            raise ValueError(
                f"{channel.name} in data.variables is a {channel.role} field; name it in "
                f"{'data.static' if channel.role == 'static' else 'model.forcing'} instead"
            )
    for static in statics:
        if static.role != "static" or not static.standard_name:
            raise ValueError(
                f"{static.name} in data.static is not a static field of files; expected "
                "orography or land_fraction (fields computed from the grid go into model.static)"
            )
    if strangers := set(config.mask) - set(config.variables):
        raise ValueError(
            f"data.mask names {', '.join(sorted(strangers))}, expected only data.variables: "
            f"{', '.join(config.variables)}"
        )
    if not config.variables or len(set(config.variables)) < len(config.variables):
        raise ValueError(f"data.variables names one twice: {', '.join(config.variables)}")


def _target_grid(series: list[Series], config: FilesData) -> Grid:
    """Return the grid of the store: that of the configuration, or that of all files."""
    found = [field for one in series for field in one.fields]
    first = found[0].grid.grid
    if config.grid is not None:
        wanted = Grid.of(config.grid.kind, config.grid.nlat, config.grid.nlon)
        # The same grid up to a shift in longitude needs no interpolation.
        same = first is not None and (first.kind, first.shape) == (wanted.kind, wanted.shape)
        return first if same and first is not None else wanted
    assert first is not None
    for field in found:
        if field.grid.grid != first:
            raise ValueError(
                f"{field.path} is on {field.grid.grid} and {found[0].path} on {first}; set "
                "data.grid to bring them onto one grid"
            )
    return first


def _mask(first: NDArray[np.float32], config: FilesData) -> NDArray[np.bool_] | None:
    """Return the mask of the declared channels, from the first time; None if none is declared."""
    if not config.mask:
        return None
    mask = np.ones(first.shape, dtype=bool)
    for c, name in enumerate(config.variables):
        if name in config.mask:
            mask[c] = np.isfinite(first[c])
            if not mask[c].any():
                raise ValueError(f"{name} has no value at all at the first time; check the files")
    return mask


def _check_missing(
    fields: NDArray[np.float32], mask: NDArray[np.bool_] | None, one: Series, times: slice
) -> None:
    """Raise a ValueError for missing values that differ from the mask."""
    valid = np.True_ if mask is None else mask
    wrong = np.isfinite(fields) != valid  # (n, h, w)
    if not wrong.any():
        return
    t = int(wrong.any(axis=(-2, -1)).argmax())
    name, count = one.channel.name, int(wrong[t].sum())
    path = one.fields[one.field[times][t]].path
    where = f"{name} at {one.fields[0].calendar.label(one.time[times][t])} in {path}"
    if mask is None or mask.all():
        raise ValueError(
            f"{where} has {count} missing values; if they are missing at all times (land), declare "
            f"data.mask=[{name}], otherwise fill them first"
        )
    raise ValueError(
        f"{where} is missing at other points than at the first time ({count} of them); a mask has "
        "to be constant in time, so fill values that are missing at some times only"
    )


def _static(
    files: Files, sources: list[Path], static: Variable, config: FilesData, to_grid: Regridding
) -> NDArray[np.floating]:
    """Read a time-independent field on the target grid, (nlat, nlon)."""
    for path in sources:
        for field in find_fields(files, path, static, config, exact_grid=False):
            values = field.read(files, np.zeros(1, dtype=np.intp))
            values = to_grid(values, field.grid, static)[0]
            if not np.isfinite(values).all():
                raise ValueError(f"{path}: static field {field.name} has missing values")
            low, high = _MOUNTAINS
            if static.name == "orography" and not field.convert.is_identity:
                top = float(values.max())
                if not low <= top <= high:
                    raise ValueError(
                        f"{path}: {field.name} reaches {top:.0f} m after its units were converted, "
                        f"expected {low:.0f} to {high:.0f} m; if the units in the file are wrong "
                        f"give data.units.{field.name}=m"
                    )
            return values
    raise not_found(files, sources, static)


def _source(files: Files, used: list[Path]) -> str:
    """Return the titles of the files, or their names."""
    titles = [str(ds.attrs.get("title") or path.name) for path in used for ds in files[path]]
    return "; ".join(list(dict.fromkeys(titles))[:3])


def _origin(path: Path) -> dict[str, Any]:
    """Return name, size and modification time of a file."""
    parts = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    size = sum(part.stat().st_size for part in parts)
    return {"name": path.name, "size": size, "modified": modified}
