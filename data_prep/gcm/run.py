"""Training store from a circulation model, which runs in a process of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from configs.gcm import GcmConfig
from configs.schema import Config, FilesData
from configs.splits import assign_splits, split_later_times
from configs.time.step import TimeStep
from configs.variables import Variable
from data_prep.gcm.process import find_python, run_worker
from data_prep.gcm.worker.run import FILES, is_finished
from data_prep.gcm.worker.segments import segments
from data_prep.gcm.worker.settings import RunSettings
from data_prep.ingest.run import ingest
from data_prep.store.arrays import open_store, times
from data_prep.store.outputs import check_output, locked

_ON_LEVELS = {
    "jcm": ("u", "v", "t", "q", "z", "vo", "d"),
    "held_suarez": ("u", "v", "t", "z", "vo", "d"),
}
"""Variables on levels that a model gives. Vorticity and divergence are computed from the winds."""
_SINGLE = {
    "jcm": ("sp", "t2m", "u10", "v10", "skt", "sst", "tp", "rlut"),
    "held_suarez": ("sp",),
}
_STATIC: dict[str, tuple[str, ...]] = {
    "jcm": ("orography", "land_fraction"),
    "held_suarez": (),
}

_SETTINGS = "settings.json"

Progress = Callable[[str], AbstractContextManager[Callable[..., None]]]
"""Function of a label that shows the progress of a loop: of `update(done, total[, note])`."""


@contextmanager
def _silent(label: str) -> Iterator[Callable[..., None]]:
    yield lambda done, total, note="": None


def generate(
    config: Config,
    out: str | Path,
    *,
    python: str | Path | None = None,
    append: bool = False,
    keep_files: bool = False,
    progress: Progress = _silent,
) -> Path:
    """Run a circulation model and write a training store from its files.

    The folder `OUT.run` beside the store has the files of each month until the store is written,
    and the state of the model before each month. A run that was killed goes on with the month that
    it was in.

    Args:
        config: Run of the model, and variables, splits and climatology of the store.
        out: Path of the store.
        python: Python interpreter that has the model; by default that of `find_python`.
        append: True to go on with the run of a store, to a later `gcm.last`, and add its states.
        keep_files: True to keep the files.
        progress: Function that shows the progress of the run and of the ingestion.

    Returns:
        Path of the store.

    Raises:
        ValueError: if a setting does not fit, or the model fails or is not installed.
        FileExistsError: if `out` exists, without `append`.
        FileNotFoundError: if `out` or its run does not exist, with `append`.
    """
    out = Path(out) if append else check_output(out)
    folder = out.with_name(f"{out.name}.run")
    since = _day_after(out, folder) if append else ""
    settings = run_settings(config, since)
    interpreter = "" if is_finished(settings, folder) else find_python(python)
    with locked(folder):
        _same_settings(folder / _SETTINGS, settings)
        if interpreter:
            with progress("days") as update:
                run_worker(folder, interpreter, update)
        files = sorted((folder / FILES).glob("*.nc"))
        with progress("states") as update:
            ingest(
                files, _of_files(config), out, table=config.table, append=append, progress=update
            )
        if not keep_files:
            shutil.rmtree(folder / FILES)
    return out


def _of_files(config: Config) -> FilesData:
    """Return the settings by which the files are read."""
    data = config.data
    assert isinstance(data, FilesData)
    accumulation = {"total_precipitation": data.time_step, **data.accumulation}
    return data.model_copy(update={"accumulation": accumulation})


def _day_after(store: Path, folder: Path) -> str:
    """Return the day after the last one of a store, which its run can go on with."""
    last = times(open_store(store))[-1]
    if not (folder / _SETTINGS).exists():
        raise FileNotFoundError(
            f"{folder} does not exist; it has the states from which the run of {store} can go on, "
            "so that without it a longer store has to be made anew"
        )
    return str(last.astype("datetime64[D]") + np.timedelta64(1, "D"))


def run_settings(config: Config, since: str = "") -> RunSettings:
    """Return the settings of a run, for the worker.

    Args:
        config: Run of the model, and variables, splits and climatology of the store.
        since: Day after the last one of the store that the run adds states to; empty without one.

    Raises:
        ValueError: if there is no section gcm, if the model does not have a variable, if steps
            or splits do not fit, or if the run ends before `since`.
    """
    gcm, data = config.gcm, config.data
    if gcm is None or not isinstance(data, FilesData):
        raise ValueError(
            "the configuration has no section gcm, the run of a circulation model; take a preset "
            "such as atmosphere"
        )
    step = TimeStep.parse(data.time_step)
    solver = TimeStep.parse(gcm.solver_dt)
    if not step.seconds or 86400 % step.seconds:
        raise ValueError(f"data.time_step is {step}; a day has to be a multiple of it, such as 6h")
    if step.multiple_of(solver) is None:
        raise ValueError(
            f"gcm.solver_dt is {solver}, of which data.time_step={step} is no multiple; take a "
            "shorter one, such as 30min"
        )
    assert solver.seconds is not None
    channels = [config.table.variable(name) for name in (*data.variables, *data.forcing)]
    for v in channels:
        _check_variable(v, gcm)
    static = _STATIC[gcm.model]
    if wrong := [name for name in data.static if name not in static]:
        given = ", ".join(static) or "no static field"
        raise ValueError(f"data.static names {wrong[0]!r}; {gcm.model} gives {given}")
    settings = RunSettings(
        model=gcm.model,
        truncation=gcm.truncation,
        levels=gcm.levels,
        solver_seconds=solver.seconds,
        step_seconds=step.seconds,
        first=gcm.first,
        last=gcm.last,
        spin_up_days=TimeStep.parse(gcm.spin_up).count,
        pressures=tuple(sorted({v.level for v in channels if v.level is not None})),
        sst_modes=gcm.sea_surface.modes if gcm.model == "jcm" else 0,
        sst_amplitude=gcm.sea_surface.amplitude,
        member=gcm.member,
        perturbation=gcm.perturbation,
        seed=gcm.seed,
        since=since,
    )
    if since > gcm.last:
        raise ValueError(
            f"gcm.last is {gcm.last}, and the store has the states of all days before {since}; to "
            "add states, give a later one"
        )
    kept = [part.times(step.seconds) for part in segments(settings) if part.kept]
    time = np.concatenate(kept).astype("datetime64[ns]")
    if since:
        split_later_times(time, data.splits, step)
    else:
        assign_splits(time, data.splits, step, "the run")
    return settings


def _check_variable(variable: Variable, gcm: GcmConfig) -> None:
    name, level = variable.name, variable.level
    base = name if level is None else name.removesuffix(str(level))
    single, on_levels = _SINGLE[gcm.model], _ON_LEVELS[gcm.model]
    if base not in (single if level is None else on_levels):
        raise ValueError(
            f"the model {gcm.model} does not give {name!r}; it gives {', '.join(single)}, and on "
            f"pressure levels {', '.join(on_levels)}"
        )


def _same_settings(path: Path, settings: RunSettings) -> None:
    """Write the settings of a run, which may only end later than those that are there."""
    there = RunSettings.read(path) if path.exists() else settings
    if replace(there, last=settings.last, since=settings.since) != settings:
        _refuse(path, there, settings, lambda name: name not in ("last", "since"))
    if settings.last < there.last:
        _refuse(path, there, settings, lambda name: name == "last")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(settings.to_json(), encoding="utf-8")
    partial.replace(path)


def _refuse(
    path: Path, there: RunSettings, now: RunSettings, counts: Callable[[str], bool]
) -> NoReturn:
    """Raise an error that names the settings that differ."""
    changes = ", ".join(
        f"{name} {value} there, {getattr(now, name)} now"
        for name, value in vars(there).items()
        if counts(name) and getattr(now, name) != value
    )
    raise ValueError(
        f"{path.parent} is a run of other settings ({changes}); remove it or choose another output"
    )
