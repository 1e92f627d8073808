"""Training run: from a configuration and a store to a package."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import torch

from configs import layout
from configs.schema import Config, FilesData, SplitRanges
from configs.solvers import DarcyData
from configs.time.step import TimeStep
from configs.variables import Role
from data_prep.store.reader import Store
from forecast.model.build import BuildNetwork, build_network
from forecast.model.forecaster import Forecaster
from forecast.model.package import start_from
from forecast.training.bounds import check_bounds
from forecast.training.checkpoint import load_checkpoint
from forecast.training.display import dry_run_report, duration
from forecast.training.memory import explain_out_of_memory, model_that_fits
from forecast.training.processes import training_mesh
from forecast.training.run import Run, RunResult
from forecast.training.run_folder import check_run_folder, log_file, run_folder
from forecast.training.samples.batches import Windows, batches
from forecast.training.tracking.tracker import Tracker
from forecast.training.trainer import Trainer
from sphere_ops.parallel.launch import restarted
from sphere_ops.parallel.mesh import current

log = logging.getLogger(__name__)


def train(
    config: Config,
    data: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    dry_run: bool = False,
    tracker: Tracker | None = None,
    build: BuildNetwork = build_network,
) -> RunResult:
    """Train a forecaster on a store.

    Args:
        config: the experiment.
        data: store to read.
        out: run folder to write: the package, the best package, the training state, metrics, log.
        resume: go on from the last saved state of `out`; begin if there is none.
        dry_run: build everything, do one step, print what it takes, and write nothing.
        tracker: where the run is recorded; MLflow as configured if not given.
        build: function that builds the network. To load the package, give `load_package` the same.

    In a mesh, every process calls this with the same arguments.

    Returns:
        How it ended. SIGTERM and SIGINT save and end it early.

    Raises:
        FileExistsError: if `out` exists and `resume` is not set, or another process trains there.
        FileNotFoundError: if there is no store.
        ValueError: if configuration and store do not fit together, training diverges, or the mesh
            is not that of the processes.
        MeshError: if another process of the mesh dies or does not answer.
    """
    device = _device(config.training.device)
    with training_mesh(config, device):
        resume = resume or restarted()
        return _train(config, data, Path(out), resume, dry_run, tracker, device, build)


def _train(
    config: Config,
    data: str | Path,
    out: Path,
    resume: bool,
    dry_run: bool,
    tracker: Tracker | None,
    device: torch.device,
    build: BuildNetwork,
) -> RunResult:
    """Train in one process."""
    if not dry_run and current().is_first:
        check_run_folder(out, resume)
    store = chosen_part(config, Store(data), phases=True)
    check_bounds(config, store.grid, device)
    torch.manual_seed(config.training.seed)
    with model_that_fits(config.model, device):
        forecaster = Forecaster.from_store(config.model, store, build)
        forecaster.network.checkpoint_blocks = config.training.checkpoint_blocks
        if config.training.start_from is not None and load_checkpoint(out) is None:
            start_from(forecaster, config.training.start_from, build)
        trainer = Trainer(forecaster.to(device), config.training)
    if dry_run:
        _dry_run(config, store, trainer)
        return RunResult(out, 0, {})
    with locked_run_folder(config, out, resume):
        return Run(config, store, trainer, out, tracker).run()


@contextlib.contextmanager
def locked_run_folder(config: Config, out: Path, resume: bool) -> Iterator[None]:
    """Lock the run folder, which the first process does for all."""
    with contextlib.ExitStack() as stack:
        if current().is_first:
            stack.enter_context(run_folder(config, out, resume))
            stack.enter_context(log_file(out / layout.LOG_FILE))
        current().broadcast(None)  # nobody looks into it before it is there
        yield


def chosen_part(config: Config, store: Store, *, phases: bool = False) -> Store:
    """Return the part of a store that the configuration describes.

    Args:
        config: All settings.
        store: Training data.
        phases: Whether windows of a longer step start at all times; see `Store.select`.

    Raises:
        ValueError: if the store lacks a part of it, or has another grid.
    """
    data = config.data
    grid = data.grid
    if grid is not None and (grid.kind, grid.nlat, grid.nlon) != (
        store.grid.kind, *store.grid.shape,
    ):  # fmt: skip
        raise ValueError(
            f"data.grid is {grid.kind} {grid.nlat}×{grid.nlon}, but {store.path} is on "
            f"{store.grid}; take the preset that the store was made with, or make the store again"
        )
    step, roles = TimeStep.parse(data.time_step), _given_roles(config)
    if isinstance(data, FilesData):
        part = store.select(
            channels=data.variables,
            forcing=data.forcing,
            roles=roles,
            static=data.static,
            times=data.times,
            time_step=step,
            splits=data.splits if isinstance(data.splits, SplitRanges) else None,
            phases=phases,
        )
    else:
        given = data.forcing if isinstance(data, DarcyData) else ()
        part = store.select(
            channels=data.variables, forcing=given, roles=roles, time_step=step, phases=phases
        )
    if "train" in store.split and "train" not in part.split:
        raise ValueError(
            f"data.times leaves no training time of {store.path}; choose other times, or give "
            "data.splits as ranges of time inside them"
        )
    if current().is_first:
        _log_choice(store, part)
    return part


def _given_roles(config: Config) -> dict[str, Role]:
    """Return the roles that the section `variables` gives to channels, by short name."""
    given = {name for name, entry in config.variables.items() if entry.role is not None}
    roles: dict[str, Role] = {}
    for name in config.data.variables:
        found = config.table.variable(name)
        base = name if found.level is None else name.removesuffix(str(found.level))
        if base in given:
            roles[name] = found.role
    return roles


def _log_choice(store: Store, part: Store) -> None:
    """Log the channels and times that are used, unless all are."""
    names = part.channel_names
    if names != store.channel_names or part.channels != store.channels:
        given = [v.name for v in part.channels if v.role == "forcing"]
        log.info(
            "channels: %d of the %d of %s%s", len(names), len(store.channels), store.path,
            f", given at every time: {', '.join(given)}" * bool(given),
        )  # fmt: skip
    if len(part.time) < len(store.time) or part.time_step != store.time_step:
        first, last = (t.astype("M8[m]") for t in (part.time.min(), part.time.max()))
        log.info(
            "times: %s of the %s of %s, %s to %s every %s", f"{len(part.time):,}",
            f"{len(store.time):,}", store.path, first, last, part.time_step,
        )  # fmt: skip


def _dry_run(config: Config, store: Store, trainer: Trainer) -> None:
    """One step of the heaviest kind, and what it took."""
    training = config.training
    bundle, n_history = config.model.bundle, config.model.n_history
    n_steps = training.rollout_steps * bundle
    windows = Windows(store, "train", n_steps + training.push_forward * bundle, n_history)
    part, parts = current().data.rank, current().data.ranks
    stream = batches(
        windows, training.batch_size, training.seed, 0, 2, workers=0, part=part, parts=parts
    )
    seconds = []
    for _ in range(2):  # the first also prepares
        with explain_out_of_memory(training, trainer.device):
            batch = next(stream)
        seconds.append(trainer.step([batch], n_steps).seconds)
    per_step = min(seconds) * training.accumulate
    reader = "memory" if store.in_memory else f"disk by {training.workers} processes"
    facts = {
        "time of all steps": duration(per_step * training.steps),
        "windows": f"{len(windows):,} of {windows.n_steps + 1} states, from {reader}",
        "batch": f"{training.batch_size} × {training.accumulate}, {training.precision}",
        "optimiser": trainer.choice.name,
        "device": trainer.device,
    }
    counts = trainer.forecaster.network.parameter_counts()
    if current().is_first:
        print(dry_run_report(counts, per_step, facts))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"training.device is {name!r}, which is not there ({reason}); take auto or cpu"
        ) from error
    return device
