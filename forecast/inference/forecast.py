"""Forecasts from the initial states of a store, written to a file as they are computed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from data_prep.store.outputs import check_output
from forecast.inference.batch import Batch
from forecast.inference.models.packages import Package
from forecast.inference.output.options import OutputOptions
from forecast.inference.plan import Transfer, make_plan
from forecast.inference.writer import SUFFIXES, ForecastWriter
from forecast.inference.writing.outcome import Report, log_reports
from forecast.inference.writing.work_folder import WorkFolder
from forecast.model.points.fill import FillMethod

log = logging.getLogger(__name__)

_ALL = OutputOptions()

Progress = Callable[[int, int, str], None]


def run_rollout(
    package: Package | Sequence[Package],
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
    output: OutputOptions = _ALL,
    forcing: str | Path | None = None,
    members: int | None = None,
    perturbations: Sequence[str] = (),
    seed: int = 0,
    limiter: bool = True,
    device: str | None = None,
    restart: bool = False,
    progress: Progress = lambda done, total, note: None,
) -> tuple[Report, ...]:
    """Forecast from the states of a split, or from given times, and write a forecast file.

    Memory does not grow with the number of steps. A forecast whose state stops being finite ends
    there, is marked in the file (`last_step`) and reported; the others go on. A forecast with
    implausible values is reported too. Reports are logged as warnings when they are found.
    In a mesh every process calls this; along its data axis they share the forecasts, along
    latitude their rows.
    After an exception or a kill, the forecast can go on from the last saved state.

    Args:
        package: folder of a trained model's package, or a forecaster; or the text of a cascade,
            such as `short/best,1d,long/best`. Of an ensemble also several, which are those of its
            members in turn.
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
        output: choice of what is written of each state.
        forcing: store of the channels that the model is given at every time, if it is not `data`;
            or "climatology", for that of `data`. Of a split, only the initial times are taken from
            which the forcing covers all steps.
        members: number of ensemble members of each forecast; without it there are no members, or as
            many as packages.
        perturbations: texts such as "field:amplitude=0.1,length=500km", which add up; see
            docs/ensembles.md.
        seed: seed of all random numbers. Member k is the same for any number of members, batch and
            mesh.
        limiter: False to leave out the limits of the models (`model.spectral_limit` and
            `model.range_limit`).
        device: where to compute; the GPU if there is one.
        restart: go on with an unfinished forecast of the same inputs and options; begin if there is
            none.
        progress: called with (done, total, note) as the steps are done.

    Returns:
        Reports of the forecasts that ended early, and of those that became implausible.

    Raises:
        ValueError: if packages and store do not fit, a start is not in the store, or the store has
            no values at points where the model needs them and `fill` is not given, a variable of
            `output` does not follow from the channels, or a perturbation is not allowed.
        FileNotFoundError: if package or store are not there.
        FileExistsError: if the output is there, or an unfinished one and `restart` is False.
        OSError: if the file cannot be written.
    """
    WorkFolder(check_output(out, SUFFIXES), {}).check_output(restart=restart)
    packages: Sequence[Package]
    if isinstance(package, Sequence) and not isinstance(package, str):
        packages = package
    else:
        packages = [package]
    plan = make_plan(
        packages,
        data,
        split=split,
        init_times=init_times,
        n_steps=n_steps,
        every=every,
        batch_size=batch_size,
        transfer=transfer,
        fill=fill,
        output=output,
        forcing=forcing,
        members=members,
        perturbations=perturbations,
        seed=seed,
        limiter=limiter,
        device=device,
    )
    with ForecastWriter(
        out,
        plan.axes,
        plan.attributes,
        batch_size=plan.batch_size,
        identity=plan.identity,
        restart=restart,
    ) as writer:
        saved = writer.saved
        if saved is not None:
            log.info("going on from step %d of %d", saved.step, plan.n_steps)
            log_reports(report for _, report in writer.outcome.reports)
        for rows in plan.batches():
            if saved is not None and (rows[0], plan.n_steps) <= (saved.first, saved.step):
                continue  # complete
            total = plan.axes.rows * plan.n_steps
            tick = partial(_tick, progress, rows, plan.n_steps, total)
            begun = saved is not None and rows[0] == saved.first
            Batch(plan, writer, rows).forecast(tick, saved if begun else None)
    return tuple(report for _, report in writer.outcome.reports)


def _tick(progress: Progress, rows: range, n_steps: int, total: int, step: int) -> None:
    progress(rows.start * n_steps + len(rows) * step, total, "")
