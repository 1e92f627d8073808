"""Training, forecasting and scoring, for comparison of a mesh with a single process."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.schema import Config
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.output.options import OutputOptions
from forecast.model.forecaster import Forecaster
from forecast.training.checkpoint import load_checkpoint, save_checkpoint
from forecast.training.optimizer import WeightAverage
from forecast.training.processes import all_processes, training_mesh
from forecast.training.samples.batches import Windows, batches
from forecast.training.train import train
from forecast.training.trainer import Trainer
from forecast.verification.evaluate import evaluate
from sphere_ops.parallel.launch import world
from sphere_ops.parallel.mesh import current
from tests.forecast.small_run import BASE, config
from tests.forecast.stand_in import Turning

CHANNELS = ("geopotential", "eastward_wind", "northward_wind")
CPU = torch.device("cpu")
ALL = {
    "spectral": {"lmax": 6},
    "integral": {"theta_cutoff": 0.6},
    "differential": {"order": 2},
}
FITTED = {
    "spectral": {"lmax": 6},
    "integral": {"theta_cutoff": 0.6, "fit_lmax": 6},
    "differential": {"order": 1, "fit_lmax": 6},
}


@dataclass(frozen=True)
class Case:
    """Settings of some training steps: store, model, and training.

    AdamW is the optimiser unless a case names another one. Two kinds of cases are compared in
    float64 alone. The gradient of an absolute value jumps where an error changes its sign, which
    rounding does in float32. Muon makes full steps of the directions in which a gradient is almost
    zero, that is of rounding.
    """

    store: str
    n_steps: int
    model: dict[str, Any]
    training: dict[str, Any]
    forcing: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32)


CASES = {
    "conserved, dealiased": Case(
        "trajectories",
        2,
        {
            "branches": FITTED,
            "dealias_lmax": 4,
            "spectral_limit": 1.0,
            "range_limit": 0.0,
            "static": ["sin_latitude", "orography"],
        },
        {"ema_decay": 0.9, "gradient_clip": 0.1},
    ),
    "damped persistence": Case(
        "trajectories",
        2,
        {"branches": ALL, "persistence": "damped", "dealias_lmax": 5},
        {"spectral_loss": 0.1},
    ),
    "replay buffer": Case(
        "trajectories",
        1,
        {"branches": ALL, "range_limit": 0.0},
        {"replay_steps": 3, "replay_from": 0.0, "replay_share": 0.8},
    ),
    "masked, climatology": Case(
        "series",
        1,
        {
            "baseline": "climatology",
            "forcing": ["insolation", "sin_year"],
            "grid": {"kind": "equiangular", "nlat": 7, "nlon": 12},
            "branches": {"spectral": {"lmax": 5}, "integral": {"theta_cutoff": 0.7}},
        },
        {},
    ),
    "climatology as an input": Case("series", 1, {"climatology_input": True}, {}),
    "muon": Case(
        "trajectories",
        2,
        {"branches": ALL, "dealias_lmax": 5},
        {"optimizer": "muon", "ema_decay": 0.9, "weight_decay": 0.1},
        dtypes=(torch.float64,),
    ),
    "muon, complex, sharded": Case(
        "trajectories",
        1,
        {"branches": {"spectral": {"lmax": 6, "complex": True}}},
        {"optimizer": "muon", "shard_optimizer": True},
        dtypes=(torch.float64,),
    ),
    "absolute errors": Case(
        "series",
        1,
        {"baseline": "climatology"},
        {"loss": "relative-l1"},
        dtypes=(torch.float64,),
    ),
    "in degrees, recomputed, two states": Case(
        "trajectories",
        2,
        {"branches": {"integral": {"theta_cutoff": 0.6}}, "history": 2},
        {
            "loss": "relative-h1",
            "accumulate": 2,
            "checkpoint_blocks": True,
            "checkpoint_steps": True,
        },
    ),
    "persistent mean, mean squares": Case(
        "series",
        1,
        {"baseline": "climatology", "persistent_mean": ["sst"]},
        {"loss": "mse"},
    ),
    "given, recomputed": Case(
        "series",
        2,
        {"branches": ALL, "spectral_limit": 1.0},
        {"checkpoint_steps": True},
        forcing=("sst",),
    ),
    "moving mask": Case(
        "moving",
        2,
        {"baseline": "climatology", "persistent_mean": ["sst"]},
        {"loss": "relative-h1", "ema_decay": 0.9},
    ),
    "moving mask, mean squares, filled smoothly": Case(
        "moving", 2, {"fill": "smooth", "history": 2}, {"loss": "mse"}
    ),
    "members": Case(
        "trajectories",
        2,
        {
            "noise": {"length_scales": ["3000km", "60deg"], "correlation_time": "2h"},
            "static": ["sin_latitude", "orography"],
        },
        {
            "loss": "crps",
            "members": 3,
            "spectral_crps": 0.3,
            "accumulate": 2,
            "checkpoint_steps": True,
        },
    ),
    "members, moving mask": Case(
        "moving",
        1,
        {
            "noise": {"length_scales": ["3000km"], "into": "first"},
            "grid": {"kind": "equiangular", "nlat": 7, "nlon": 12},
            "branches": {"spectral": {"lmax": 5}},
            "baseline": "climatology",
        },
        {"loss": "crps", "members": 2},
    ),
    "masked, filled smoothly": Case(
        "series", 2, {"baseline": "climatology", "fill": "smooth", "history": 2}, {}
    ),
}

WHOLE = Case(
    "trajectories",
    1,
    {"branches": ALL},
    {"steps": 40, "ema_decay": 0.9, "validate_every": 40, "learning_rate": 1e-2},
)
"""A run that is compared from its middle on: where it begins, Adam makes steps of rounding."""


def settings(case: Case, mesh: tuple[int, int]) -> Config:
    training = {"batch_size": 4, "learning_rate": 1e-3, "optimizer": "adamw"} | case.training
    tree = config(case.model, **training).model_dump()
    tree["mesh"] = {"data": mesh[0], "latitude": mesh[1], "timeout": 60}
    tree["data"]["variables"] = CHANNELS
    return Config.model_validate(tree)


def steps(case: Case, folder: Path, mesh: tuple[int, int], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return losses, gradient norms, weights and validation of ten optimiser steps."""
    run = settings(case, mesh)
    with training_mesh(run, CPU):
        store = Store(folder / f"{case.store}.zarr").select(forcing=case.forcing)
        torch.manual_seed(0)
        forecaster = Forecaster.from_store(run.model, store).to(dtype)
        forecaster.network.checkpoint_blocks = run.training.checkpoint_blocks
        with torch.no_grad():  # they start at zero, and with the decoder all other gradients
            forecaster.network.decoder.weight.normal_()
            if run.model.noise is not None and run.model.noise.into == "blocks":
                for modulation in forecaster.network.modulations:
                    modulation.weight.normal_()
        trainer = Trainer(forecaster, run.training)
        for loss in (trainer.loss, trainer.error, trainer.validation.crps, trainer.spectral):
            if loss is not None:
                loss.to(dtype)
        part, t, n_history = current().data, run.training, forecaster.n_history
        training = Windows(store, "train", case.n_steps, n_history)
        stream = batches(
            training, t.batch_size, 0, 0, 10 * t.accumulate, part=part.rank, parts=part.ranks,
            replay=trainer.replay_plan(training, case.n_steps),
        )  # fmt: skip
        found: list[Tensor] = []
        for _ in range(10):
            parts = [next(stream) for _ in range(t.accumulate)]
            parts = [replace(b, fields=b.fields.to(dtype)) for b in parts]
            result = trainer.step(parts, case.n_steps)
            found.append(torch.tensor([result.loss, result.gradient_norm], dtype=torch.float64))
        windows = Windows(store, "validation", 2, n_history)
        validation = trainer.validate(windows, list(range(min(3, len(windows)))))
        values = {"losses and norms": torch.stack(found)}
        values |= {name: p.detach().double() for name, p in forecaster.named_parameters()}
        if isinstance(trainer.average, WeightAverage):
            values |= {f"average {n}": v.double() for n, v in trainer.average.average.items()}
        values |= {n: torch.tensor(v, dtype=torch.float64) for n, v in validation.items()}
        values |= {f"package {k}": v.double() for k, v in forecaster.whole_tensors().items()}
        return values | felt(values, forecaster)


def felt(values: dict[str, Tensor], forecaster: Forecaster) -> dict[str, Tensor]:
    """Return the weights on which the loss depends.

    A constant that a conserved mean removes, for instance, has no effect on the loss. The gradient
    of such a weight is rounding error, which Adam scales to full steps.
    """
    weights: dict[str, Tensor] = {}
    for name, p in forecaster.named_parameters():
        assert p.grad is not None
        feels = p.grad.abs() > 1e-6 * p.grad.abs().max()
        for kind in (name, f"average {name}", f"package {name}"):
            if kind in values:
                weights[kind] = values[kind].where(feels, 0.0)
    return weights


_BROKEN = 30
"""A step of WHOLE whose loss is not finite, at one data coordinate."""


@contextmanager
def changed_trainer(stop: int | None = None) -> Iterator[None]:
    """Train with one skipped step, and one in which the last process receives a stop signal."""
    step, loss = Trainer.step, Trainer.rollout_loss

    def stepping(self: Trainer, *args: Any) -> Any:
        last = int(os.environ.get("RANK", "0")) == world() - 1
        if last and self.step_count + 1 == stop and stop < WHOLE.training["steps"]:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args)

    def breaking(self: Trainer, *args: Any) -> Tensor:
        data = current().data
        broken = self.step_count + 1 == _BROKEN and data.rank == data.ranks - 1
        return loss(self, *args) * (float("nan") if broken else 1.0)

    Trainer.step, Trainer.rollout_loss = stepping, breaking  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer.step, Trainer.rollout_loss = step, loss  # type: ignore[method-assign]


def whole_workflow(folder: Path, out: Path, mesh: tuple[int, int]) -> None:
    """Resume training, forecast for 20 steps from an existing package, and score the forecast."""
    with changed_trainer():
        train(settings(WHOLE, mesh), folder / "trajectories.zarr", out / "run", resume=True)
    package = folder / "alone/run/package"
    with all_processes(mesh[1]):
        for suffix in ("nc", "zarr"):
            run_rollout(
                package if package.exists() else out / "run/package",
                folder / "trajectories.zarr",
                out / f"forecast.{suffix}",
                split="train",
                n_steps=20,
                batch_size=3,
            )
        one_fails(folder / "trajectories.zarr", out)
        moving = folder / "moving.zarr"
        for suffix in ("nc", "zarr"):
            run_rollout(Turning(moving), moving, out / f"moving.{suffix}", n_steps=3, batch_size=5)
        forced(folder / "series.zarr", out)
    forecast = folder / "alone/forecast.nc"
    with all_processes(1):
        evaluate(
            forecast if package.exists() else out / "forecast.nc",
            folder / "trajectories.zarr",
            out / "scores.nc",
            fractions=[f"{CHANNELS[0]}>q60:2000km"],
        )
        forecast = folder / "alone/moving.nc"
        evaluate(
            forecast if package.exists() else out / "moving.nc",
            folder / "moving.zarr",
            out / "moving_scores.nc",
        )


def forced(store: Path, out: Path) -> None:
    """Forecast from a series with a model that is given its masked channel, without training."""
    torch.manual_seed(0)
    model = config(CASES["given, recomputed"].model).model
    part = Store(store).select(forcing=("sst",), time_step=TimeStep.parse("2mo"))
    forecaster = Forecaster.from_store(model, part)
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.1)
    for suffix in ("nc", "zarr"):
        run_rollout(forecaster, store, out / f"forced.{suffix}", n_steps=3, batch_size=2)


def one_fails(store: Path, out: Path) -> None:
    """Run four forecasts of which the third one fails, and a single forecast."""
    model, mesh = Turning(store), current()
    own = range(4)[mesh.data.part(4)]
    if 2 in own and mesh.latitude.is_first:
        model.fails = {2 - own.start: 3}
    for suffix in ("nc", "zarr"):
        ended = run_rollout(
            model,
            store,
            out / f"failing.{suffix}",
            split="train",
            n_steps=5,
            output=OutputOptions(derive=("wind_speed", "vorticity"), mean="2h"),
        )
        assert [(e.step, e.channel) for e in ended] == [(3, CHANNELS[1])]
        model.steps_done = 0
        run_rollout(Turning(store), store, out / f"single.{suffix}", split="test", n_steps=2)


def everything(folder: Path, out: Path, mesh: tuple[int, int]) -> None:
    """Run all cases on a rank."""
    found = {
        (name, dtype): steps(case, folder, mesh, dtype)
        for name, case in CASES.items()
        for dtype in case.dtypes
    }
    if os.environ.get("RANK", "0") == "0":
        torch.save(found, out / "steps")
    whole_workflow(folder, out, mesh)


# --- sharded optimiser ----------------------------------------------------------------------------


def both_optimizers(folder: Path, out: Path, mesh: tuple[int, int]) -> None:
    """Run ten steps with the optimiser's state whole, then sharded, and the other way round."""
    found: dict[str, list[int]] = {}
    for first in (False, True):
        numbers = []
        for sharded in (first, not first):
            training = {"shard_optimizer": sharded}
            run = settings(Case("trajectories", 1, {"branches": ALL}, training), mesh)
            with training_mesh(run, CPU) as ranks:
                store = Store(folder / "trajectories.zarr")
                torch.manual_seed(0)
                trainer = Trainer(Forecaster.from_store(run.model, store), run.training)
                state = load_checkpoint(out / f"{first}")
                if state is not None:
                    trainer.restore(state)
                part, begin = ranks.data, trainer.step_count
                windows = Windows(store, "train", 1)
                for batch in batches(
                    windows, 4, 0, begin, begin + 5, part=part.rank, parts=part.ranks
                ):
                    trainer.step([batch], 1)
                optimizer = getattr(trainer.optimizer, "optim", trainer.optimizer)
                states = [*optimizer.state.values(), *trainer.optimizer.state.values()]
                kept = {id(x): x.numel() for state in states for x in state.values()}
                numbers.append(sum(kept.values()))
                (out / f"{first}").mkdir(exist_ok=True)
                save_checkpoint(trainer.checkpoint(), out / f"{first}", 9)
                ranks.broadcast(None)
        found[f"{first}"] = numbers
    torch.save(found, out / f"numbers.{os.environ['RANK']}")


# --- resume --------------------------------------------------------------------------------------

LEGS = ((20, (1, 1)), (25, (2, 2)), (30, (1, 2)), (35, (1, 1)), (40, (1, 3)))
"""Steps of a run of 40 at which it stops, and its mesh up to there."""


def leg(store: Path, out: Path, number: int) -> None:
    """Run one part of a run; the last process of the mesh receives a stop signal."""
    stop, mesh = LEGS[number]
    case = replace(WHOLE, training=WHOLE.training | {"shard_optimizer": number % 2 == 1})
    with changed_trainer(stop):
        train(settings(case, mesh), store, out, resume=number > 0)


assert BASE["tracking"] == {"enabled": False}
