"""Run of a circulation model, month by month; a run that was killed goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_prep.gcm.worker.interface import Array, CirculationModel
from data_prep.gcm.worker.pressure_levels import to_pressure_levels
from data_prep.gcm.worker.segments import Segment, name_of, segments
from data_prep.gcm.worker.settings import RunSettings

FILES, RESTARTS = "files", "restarts"
Report = Callable[[int, int, str], None]

_LONG = {
    "u": "Eastward wind", "v": "Northward wind", "t": "Temperature", "q": "Specific humidity",
    "z": "Geopotential", "sp": "Surface pressure",
}  # fmt: skip


def is_finished(settings: RunSettings, folder: Path) -> bool:
    """Return True if all files of a run are there."""
    kept = [part for part in segments(settings) if part.kept]
    there = all((folder / FILES / f"{part.name}.nc").exists() for part in kept)
    return there and restart(folder, kept[-1].end).exists()


def restart(folder: Path, day: np.datetime64) -> Path:
    """Return the file of the state at the beginning of a day."""
    return folder / RESTARTS / f"{name_of(day)}.npz"


def run(model: CirculationModel, settings: RunSettings, folder: Path, report: Report) -> None:
    """Run all months that are not there yet.

    Args:
        model: The model.
        settings: Dates, levels and steps.
        folder: Folder of the run; `files` in it gets a netCDF file for each month and one of the
            static fields, `restarts` the state before each month.
        report: Function that is called after each day with the days done, all days, and the date.

    Raises:
        FloatingPointError: if a value is not finite, or the model cannot go on.
    """
    for name in (FILES, RESTARTS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_static(model, settings, folder / FILES / "static.nc")
    parts = segments(settings)
    total, done, state = sum(part.n_days for part in parts), 0, None

    def day_done(day: np.datetime64) -> None:
        nonlocal done
        done += 1
        report(done, total, str(day))

    for part in parts:
        start, end = restart(folder, part.first), restart(folder, part.end)
        path = folder / FILES / f"{part.name}.nc"
        if end.exists() and (path.exists() or not part.kept):
            done, state = done + part.n_days, None
            continue
        if state is None:
            state = _read(model, start) if start.exists() else model.start(part.first)
        state = write_segment(model, settings, part, state, path, day_done)
        _save(model, state, end)


def write_segment(
    model: CirculationModel,
    settings: RunSettings,
    part: Segment,
    state: Any,
    path: Path,
    report: Callable[[np.datetime64], None] = lambda day: None,
) -> Any:
    """Advance a state through a segment, write its file if it is kept, and return the state."""
    model.begin(part)
    days = []
    for day in part.first + np.arange(part.n_days):
        state, fields = model.advance_day(state)
        _check(fields, day)
        if part.kept:
            days.append(_on_pressure_levels(fields, model, settings))
        report(day)
    if part.kept:
        together = {name: np.concatenate([d[name] for d in days]) for name in days[0]}
        _write_month(model, settings, part, together, path)
    return state


def _read(model: CirculationModel, path: Path) -> Any:
    with np.load(path) as file:
        return model.state([file[f"a{i:04d}"] for i in range(len(file.files))])


def _save(model: CirculationModel, state: Any, path: Path) -> None:
    partial = path.with_name(f".{path.name}")
    arrays = model.arrays(state)
    with partial.open("wb") as file:
        np.savez(file, **{f"a{i:04d}": x for i, x in enumerate(arrays)})  # type: ignore[arg-type]
    partial.replace(path)


def _check(fields: dict[str, NDArray[Any]], day: np.datetime64) -> None:
    for name, x in fields.items():
        if name != "sst" and not np.isfinite(x).all():
            raise FloatingPointError(
                f"{name} is not finite on {day}: the model became unstable; take a shorter "
                "gcm.solver_dt"
            )


def _on_pressure_levels(
    fields: dict[str, Array], model: CirculationModel, settings: RunSettings
) -> dict[str, Array]:
    """Return the fields of a day, those of model levels on pressure levels."""
    on_levels = {name: x for name, x in fields.items() if x.ndim == 4}
    others = {name: x for name, x in fields.items() if x.ndim == 3}
    found = to_pressure_levels(on_levels, fields["sp"], model.sigma, settings.pressures)
    return {name: x.astype(np.float32) for name, x in (found | others).items()}


def _write_month(
    model: CirculationModel, settings: RunSettings, part: Segment, fields: dict[str, Array],
    path: Path,
) -> None:  # fmt: skip
    dims = {4: ("time", "level", "latitude", "longitude"), 3: ("time", "latitude", "longitude")}
    coordinates = {
        "time": part.times(settings.step_seconds).astype("datetime64[ns]"),
        **_horizontal(model),
    }
    if settings.pressures:
        pressures = np.array(settings.pressures, dtype=np.float64)
        coordinates["level"] = ("level", pressures, {"units": "hPa", "positive": "down"})
    dataset = xr.Dataset(
        {name: (dims[x.ndim], x, _about(model, name)) for name, x in fields.items()},
        coordinates,
        _title(model, settings),
    )
    _write(dataset, path, "days since 1970-01-01")


def _write_static(model: CirculationModel, settings: RunSettings, path: Path) -> None:
    if path.exists() or not model.static:
        return
    dims = ("latitude", "longitude")
    fields = {
        name: (dims, x.astype(np.float32), _about(model, name)) for name, x in model.static.items()
    }
    _write(xr.Dataset(fields, _horizontal(model), _title(model, settings)), path)


def _title(model: CirculationModel, settings: RunSettings) -> dict[str, str]:
    parts = [f"step {settings.solver_seconds} s", f"spin-up {settings.spin_up_days} d"]
    if settings.model == "jcm":
        amplitude = f"{settings.sst_amplitude:g}"
        parts.append(f"{settings.sst_modes} modes of the sea surface × {amplitude}")
    parts += [f"member {settings.member}", f"seed {settings.seed}"]
    title = f"Circulation model {model.source}, {', '.join(parts)}"
    return {"title": title, "source": model.source}


def _horizontal(model: CirculationModel) -> dict[str, Any]:
    return {
        "latitude": ("latitude", model.latitude, {"units": "degrees_north"}),
        "longitude": ("longitude", model.longitude, {"units": "degrees_east"}),
    }


def _about(model: CirculationModel, name: str) -> dict[str, str]:
    return {"units": model.units[name], **({"long_name": _LONG[name]} if name in _LONG else {})}


def _write(dataset: xr.Dataset, path: Path, time_units: str | None = None) -> None:
    """Write a compressed netCDF file beside its place, and rename it."""
    partial = path.with_name(f".{path.name}")
    packed: dict[str, dict[str, Any]] = {
        str(name): {"zlib": True, "complevel": 1, "shuffle": True} for name in dataset.data_vars
    }
    if time_units is not None:
        packed["time"] = {"units": time_units, "dtype": "float64"}
    dataset.to_netcdf(partial, engine="netcdf4", encoding=packed)
    os.replace(partial, path)
