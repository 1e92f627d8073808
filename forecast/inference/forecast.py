"""Forecasts from the initial states of a store, written to a file as they are computed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from configs import layout
from configs.schema import RolloutConfig
from data_prep.store.outputs import check_output
from data_prep.store.reader import Store
from forecast.inference.batch import Batch
from forecast.inference.coordinates import ForecastAxes
from forecast.inference.failures import EarlyStop
from forecast.inference.forcing_source import ForcingSource
from forecast.inference.initial_states import InitialStates
from forecast.inference.shared_writer import SharedWriter
from forecast.inference.winds import ForecastWinds
from forecast.inference.writer import SUFFIXES
from forecast.model.fill import FillMethod
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package, rollout_defaults, weights_digest
from forecast.model.resampling import ResamplingForecaster
from sphere_ops.grid import EARTH_RADIUS
from sphere_ops.parallel.mesh import current

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
Transfer = Literal["fields", "operators"]


def run_rollout(
    package: str | Path | Forecaster,
    data: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    init_times: Sequence[str] | None = None,
    n_steps: int | None = None,
    every: int = 1,
    batch_size: int | None = None,
    transfer: Transfer = "fields",
    fill: FillMethod | None = None,
    winds: bool = False,
    forcing: str | Path | None = None,
    device: str | None = None,
    progress: Progress = lambda done, total, note: None,
) -> tuple[EarlyStop, ...]:
    """Forecast from the states of a split, or from given times, and write a forecast file.

    Memory does not grow with the number of steps. A forecast whose state stops being finite ends
    there, is marked in the file (`last_step`) and reported; the others go on. In a mesh every
    process calls this; along its data axis they share the forecasts, along latitude their rows.

    Args:
        package: folder of a trained model's package, or a forecaster.
        data: store with the initial states.
        out: forecast file: `.nc` or `.zarr`.
        split: start from every time of this split, or from the first state of its trajectories; if
            not given, the package's default.
        init_times: start at these valid times instead (of trajectories: in all of the split's).
        n_steps: model steps; if not given, the package's default.
        every: write each `every`-th step.
        batch_size: forecasts that a process steps together; likewise.
        transfer: on another grid than that of training, whether the fields are resampled to the
            training grid and back (see `ResamplingForecaster`), or the operators discretised there.
            A model with a mask whose grid is that of the store, rotated about the axis, takes its
            operators along, since its fields cannot be shifted across the mask.
        fill: method to fill points of the initial states that the model needs and the store does
            not have: "nearest" (from the nearest points that have values) or "smooth".
        winds: write also the winds of each pair of channels of vorticity and divergence.
        forcing: store of the channels that the model is given at every time, if it is not `data`;
            or "climatology", for that of `data`. Of a split, only the initial times are taken from
            which the forcing covers all steps.
        device: where to compute; the GPU if there is one.
        progress: called with (done, total, note) as the steps are done.

    Returns:
        The forecasts that ended early.

    Raises:
        ValueError: if package and store do not fit, a start is not in the store, or the store has
            no values at points where the model needs them and `fill` is not given, or no winds
            follow from the channels.
        FileNotFoundError: if package or store are not there.
        FileExistsError: if the output is.
    """
    check_output(out, SUFFIXES)
    settings = _settings(package)
    n_steps = settings.n_steps if n_steps is None else n_steps
    if n_steps < 1 or not 1 <= every <= n_steps:
        raise ValueError(f"{n_steps} steps, every {every} kept: both take a whole number from 1")
    store = Store(data)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    trained, source = _load(package, device)
    forecaster = _fitted(trained, store, transfer)
    states = InitialStates(store, forecaster, split or settings.split, init_times, fill=fill)
    source_of_forcing = None
    if forecaster.forcing_channels:
        source_of_forcing = ForcingSource(forecaster, store, forcing, fill=fill)
        states = _covered(states, source_of_forcing, n_steps, leave_out=not init_times)
    elif forcing is not None:
        raise ValueError("the model is given no channels at every time; leave out --forcing")
    parts = current().data.ranks
    radius = store.attributes.get(layout.RADIUS, EARTH_RADIUS)
    derived = (
        ForecastWinds(forecaster.channels, store.grid, radius, states.valid) if winds else None
    )
    axes = ForecastAxes(
        grid=store.grid,
        channels=forecaster.channels,
        time_step=forecaster.time_step,
        init_time=states.time,
        steps=np.arange(0, n_steps + 1, every),
        trajectory=np.array([i for i, _ in states.starts]) if store.has_trajectories else None,
        derived=() if derived is None else derived.variables,
    )
    batch_size = min(batch_size or settings.batch_size, -(-axes.rows // parts))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes = {
        "title": f"Forecast of {', '.join(forecaster.channel_names)}",
        "source": source,
        "history": f"{now} forecast rollout from store {store.path.name} ({len(states)} starts, "
        f"{n_steps} steps of {forecaster.time_step.label})",
    }
    if states.moving_mask:
        attributes[layout.MOVING_MASK] = " ".join(states.moving_mask)
    comments = [states.comment, source_of_forcing.comment if source_of_forcing else ""]
    if any(comments):
        attributes["comment"] = "; ".join(comment for comment in comments if comment)
    ended: list[EarlyStop] = []
    with SharedWriter(out, axes, attributes, batch_size, derived) as writer:
        for first in range(0, axes.rows, batch_size * parts):
            batch = range(first, min(first + batch_size * parts, axes.rows))
            done, total = first * n_steps, axes.rows * n_steps
            run = Batch(forecaster, states, source_of_forcing, writer, axes, batch)
            tick = partial(_tick, progress, done, total, len(batch))
            ended += run.forecast(n_steps, every, tick)
    for one in ended if current().is_first else []:
        log.warning("%s", one)
    return tuple(ended)


def _covered(
    states: InitialStates, forcing: ForcingSource, n_steps: int, *, leave_out: bool
) -> InitialStates:
    """Return the initial states from which a forcing covers all steps.

    Raises:
        ValueError: if there are none, or if some are not to be left out.
    """
    covered = forcing.n_steps(states.time, n_steps)
    kept = covered == n_steps
    if kept.all():
        return states
    if not leave_out or not kept.any():
        i = int(np.argmax(np.where(kept, -1, covered)))
        raise forcing.refuse(states.describe(i), states.time[i], int(covered[i]))
    log.info(
        "%d of %d initial times are left out: %s end before %d steps after them",
        (~kept).sum(), len(kept), ", ".join(forcing.names), n_steps,
    )  # fmt: skip
    return states.only(kept)


def _tick(progress: Progress, done: int, total: int, batch: int, step: int) -> None:
    progress(done + batch * step, total, "")


def _load(package: str | Path | Forecaster, device: str) -> tuple[Forecaster, str]:
    """Load the forecaster, and describe it for the file."""
    tool = f"sphere-forecast {version('sphere-forecast')}"
    if not isinstance(package, str | Path):
        return package.eval().to(device), tool
    forecaster = load_package(package, device)
    digest = weights_digest(_package_folder(Path(package)))[:16]
    name = "/".join(Path(package).absolute().parts[-2:])
    return forecaster, f"{tool}, package {name} (sha256 {digest})"


def _package_folder(path: Path) -> Path:
    """Return the folder of a package, also where the run that holds it was given."""
    inside = path / layout.PACKAGE
    return inside if (inside / layout.PACKAGE_FILE).is_file() else path


def _settings(package: str | Path | Forecaster) -> RolloutConfig:
    """Defaults of a package's forecasts; the built-in ones for a forecaster without a package."""
    if isinstance(package, str | Path):
        return rollout_defaults(_package_folder(Path(package)))
    return RolloutConfig()


def _fitted(
    forecaster: Forecaster, store: Store, transfer: Transfer
) -> Forecaster | ResamplingForecaster:
    """Take the forecaster to the store's grid; refuse a store with other channels or time step."""
    absent = [name for name in forecaster.channel_names if name not in store.channel_names]
    if absent:
        raise ValueError(
            f"package and store do not fit: the model forecasts {', '.join(absent)}, and "
            f"{store.path} has {', '.join(store.channel_names)}"
        )
    if forecaster.time_step.multiple_of(store.time_step) is None:
        raise ValueError(
            f"package and store do not fit: the model steps by {forecaster.time_step.label}, "
            f"which is no multiple of the {store.time_step.label} of {store.path}"
        )
    if forecaster.time_step.calendar != store.time_step.calendar:
        calendars = forecaster.time_step.calendar, store.time_step.calendar
        log.info("the model was trained in the calendar %s, the store has %s", *calendars)
        forecaster.use_calendar(store.time_step.calendar)
    if forecaster.grid == store.grid:
        return forecaster
    log.info("the model was trained on %s, the store is on %s", forecaster.grid, store.grid)
    rotated = store.grid.is_rotation_of(forecaster.grid)
    if transfer == "fields" and (forecaster.mask is None or not rotated):
        return ResamplingForecaster(forecaster, store.grid)
    return forecaster.on_grid(store.grid)
