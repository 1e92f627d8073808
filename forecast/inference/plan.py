"""Plan of a rollout: inputs, settings and contents of the file, settled before the first step."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from configs import layout
from data_prep.store.reader import Store
from forecast.inference.coordinates import ForecastAxes
from forecast.inference.ensemble.members import Ensemble
from forecast.inference.ensemble.runs import MemberRuns
from forecast.inference.forcing_source import CLIMATOLOGY, ForcingSource
from forecast.inference.initial_states import InitialStates
from forecast.inference.models.agreement import check_agree
from forecast.inference.models.cascade import Cascade
from forecast.inference.models.packages import Package, PackageSpec
from forecast.inference.output.contents import FileContents
from forecast.inference.output.options import OutputOptions
from forecast.inference.output.periods import Periods
from forecast.inference.output.weatherbench2 import check_fits
from forecast.model.forecaster import Forecaster
from forecast.model.points.fill import FillMethod
from forecast.model.resampling import ResamplingForecaster
from sphere_ops.parallel.mesh import current

log = logging.getLogger(__name__)

Transfer = Literal["fields", "operators"]

_ALL = OutputOptions()


@dataclass(frozen=True)
class RolloutPlan:
    """Plan of a rollout.

    Attributes:
        runs: initial states, and forecasts of the members.
        axes: contents of the forecast file.
        attributes: attributes of the forecast file.
        identity: options and inputs that a rollout must share with one that it goes on with.
        n_steps: model steps.
        every: interval of written steps.
        batch_size: forecasts that a process steps together.
        contents: variables that are written of each state, and its plausible values.
    """

    runs: MemberRuns
    axes: ForecastAxes
    attributes: Mapping[str, str]
    identity: Mapping[str, Any]
    n_steps: int
    every: int
    batch_size: int
    contents: FileContents

    def batches(self) -> list[range]:
        """Return the rows of the forecasts that all processes step at the same time."""
        size, rows = self.batch_size * current().data.ranks, self.axes.rows
        return [range(first, min(first + size, rows)) for first in range(0, rows, size)]


def make_plan(
    packages: Sequence[Package],
    data: str | Path,
    *,
    split: str | None = None,
    init_times: Sequence[str] | None = None,
    n_steps: int | None = None,
    every: int = 1,
    batch_size: int | None = None,
    transfer: Transfer = "fields",
    fill: FillMethod | None = None,
    output: OutputOptions = _ALL,
    forcing: str | Path | None = None,
    members: int | None = None,
    perturbations: Sequence[str] = (),
    seed: int = 0,
    limiter: bool = True,
    device: str | None = None,
) -> RolloutPlan:
    """Load the model, find the initial states and check that they fit; see `run_rollout`."""
    ensemble = Ensemble(members, perturbations, seed, len(packages))
    named = [PackageSpec(package) for package in packages]
    settings = named[0].settings()
    n_steps = settings.n_steps if n_steps is None else n_steps
    if n_steps < 1 or not 1 <= every <= n_steps:
        raise ValueError(
            f"{n_steps} steps, of which every {every}th is written; expected at least 1 step, and "
            f"an interval from 1 to {max(n_steps, 1)}"
        )
    store = Store(data)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    fit = partial(_fitted, store, transfer)
    models = [of.load(device, limiter=limiter, fit=fit) for of in named]
    first_models = [model.first for model in models]
    check_agree(first_models, [of.name for of in named], "members of one ensemble")
    n_history = max(model.n_history for model in models)
    models = [Cascade(model.models, model.ends, n_history) for model in models]
    for of, model in zip(named, models, strict=True):
        if model.ends and model.ends[-1] >= n_steps:
            raise ValueError(
                f"{of.name}: the last model begins after {of.until[-1]}, and the forecast has "
                f"{n_steps} steps of {model.time_step.label}; take more steps (--steps), or leave "
                "that model out"
            )
    digests = [of.digest(model) for of, model in zip(named, models, strict=True)]
    forecaster = first_models[0]
    ensemble.prepare(first_models, store)
    n_earlier = ensemble.n_earlier(forecaster.time_step)
    states = InitialStates(
        store,
        forecaster,
        split or settings.split,
        init_times,
        fill=fill,
        n_history=n_history,
        n_earlier=n_earlier,
    )
    source_of_forcing = None
    if forecaster.forcing_channels:
        source_of_forcing = ForcingSource(forecaster, store, forcing, fill=fill)
        steps = range(-n_earlier, n_steps)
        states = _covered(states, source_of_forcing, steps, leave_out=not init_times)
    elif forcing is not None:
        raise ValueError("the model is given no channels at every time; leave out --forcing")
    parts = current().data.ranks
    contents = FileContents.choose(output, forecaster, store, states.valid)
    axes = ForecastAxes(
        grid=store.grid,
        channels=contents.fields.channels,
        time_step=forecaster.time_step,
        init_time=states.time,
        steps=np.arange(0, n_steps + 1, every),
        trajectory=np.array([i for i, _ in states.starts]) if store.has_trajectories else None,
        derived=contents.fields.derived,
        periods=_periods(output, forecaster, states, n_steps),
        snapshots=output.snapshots,
        layout=output.layout,
        member=ensemble.members,
    )
    if output.layout == "weatherbench2":
        check_fits(axes)
    batch_size = min(batch_size or settings.batch_size, -(-axes.rows // parts))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes = {
        "title": f"Forecast of {', '.join(v.name for v in axes.variables)}",
        "source": _source(named, digests),
        "history": f"{now} forecast rollout from store {store.path.name} ({len(states)} starts, "
        f"{n_steps} steps of {forecaster.time_step.label})",
        **ensemble.attributes(),
    }
    if states.moving_mask:
        attributes[layout.MOVING_MASK] = " ".join(states.moving_mask)
    forced = source_of_forcing.comment if source_of_forcing else ""
    unlimited = "" if limiter else "without the limiter of the model"
    comments = [states.comment, forced, contents.fields.comment, unlimited]
    if any(comments):
        attributes["comment"] = "; ".join(comment for comment in comments if comment)
    identity = {
        "the packages": digests,
        "the version of sphere-forecast": version("sphere-forecast"),
        "the store": _store_digest(store),
        "the initial times": [states.describe(i) for i in range(len(states))],
        "the number of steps": n_steps,
        "the interval of written steps": every,
        "the batch size": batch_size,
        "the transfer to another grid": transfer,
        "the method of filling": fill,
        "the contents of the file": asdict(output),
        "the number of members": members,
        "the perturbations": list(perturbations),
        "the seed": seed,
        "the limiter": limiter,
        "the forcing": str(forcing)
        if forcing in (None, CLIMATOLOGY)
        else _store_digest(Store(forcing)),
    }
    return RolloutPlan(
        runs=MemberRuns(models, states, source_of_forcing, ensemble, torch.device(device)),
        axes=axes,
        attributes=attributes,
        identity=identity,
        n_steps=n_steps,
        every=every,
        batch_size=batch_size,
        contents=contents,
    )


def _periods(
    output: OutputOptions,
    forecaster: Forecaster | ResamplingForecaster,
    states: InitialStates,
    n_steps: int,
) -> Periods | None:
    """Return the periods whose statistics are written; None without any."""
    if output.mean is None:
        return None
    return Periods(output.mean, forecaster.time_step, states.time, n_steps)


def _covered(
    states: InitialStates, forcing: ForcingSource, steps: range, *, leave_out: bool
) -> InitialStates:
    """Return the initial states for which a forcing has the end of all steps.

    Args:
        states: Initial states.
        forcing: Source of the forcing.
        steps: Model steps, counted from the initial time.
        leave_out: True to leave out states without it, unless all are.

    Raises:
        ValueError: if there are none, or if some are not to be left out.
    """
    first = forcing.time_step.advance(states.time, steps.start)
    covered = forcing.n_steps(first, len(steps))
    kept = covered == len(steps)
    if kept.all():
        return states
    if not leave_out or not kept.any():
        i = int(np.argmax(np.where(kept, -1, covered)))
        raise forcing.refuse(states.describe(i), states.time[i], int(covered[i]) + steps.start)
    log.info(
        "%d of %d initial times are left out: %s end before %d steps after them",
        (~kept).sum(), len(kept), ", ".join(forcing.names), steps.stop,
    )  # fmt: skip
    return states.only(kept)


def _fitted(
    store: Store, transfer: Transfer, forecaster: Forecaster
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


def _source(packages: Sequence[PackageSpec], digests: Sequence[str]) -> str:
    """Describe the models for the file."""
    parts = [of.described(digest) for of, digest in zip(packages, digests, strict=True)]
    return ", ".join((f"sphere-forecast {version('sphere-forecast')}", *chain(*parts)))


def _store_digest(store: Store) -> str:
    """Return name and SHA-256 of the attributes, times and means of a store.

    A store of the same sources that was made again has the same digest: its history does not count.
    """
    described = {name: str(v) for name, v in store.attributes.items() if name != "history"}
    found = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    found.update(store.time.astype("datetime64[s]").tobytes())
    for name in (n for n in (layout.MEAN, layout.STD) if n in store.statistics):
        found.update(store.statistics[name].double().numpy().tobytes())
    return f"{store.path.name} {found.hexdigest()[:16]}"
