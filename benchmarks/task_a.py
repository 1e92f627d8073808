"""Task A: one hour of shallow water at T42 on 64×128, learned from 1,200 pairs in 1,500 steps.

    python -m benchmarks.task_a --data STORE [--set ablation|best|mlp|stability] [--seeds 0 1 2]
                                [--only NAME] [--half] [--steps N] [--device cuda] [--json FILE]

Trains every variant of a set from the preset `swe` and measures, on 24 unseen trajectories of 20
steps, the relative L2 error after each step (area-weighted norm of the difference over that of the
truth, both less the mean of the training data and in its standard deviations; mean over channels,
then over trajectories), and how long a rollout of 1,000 steps stays within the range of the truth.
The store is generated if it does not exist. `--half` is the same flow at half the resolution and
twice the time step: T21 on 32×64, two hours, every truncation halved and every angle doubled, at a
fifth of the cost. The JSON file is written after every run, and runs that it has are not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import machine
from configs.load import load_config
from configs.schema import Config, ShallowWaterData
from forecast.data import Store, Windows, batches
from forecast.forecaster import Forecaster
from forecast.rollout import rollout
from forecast.schedule import phases
from forecast.trainer import Trainer
from sphere_ops.grid import Grid
from sphere_ops.memory import keep_freed_memory
from sphere_ops.resample import resample

PRESET = "swe"
LEADS = (1, 5, 20)


@dataclass(frozen=True)
class Task:
    """What is learned, and its size.

    Attributes:
        nlat: rows of the grid; it has twice as many columns.
        lmax: truncation of the data, exclusive.
        time_step: of the model.
        test: unseen trajectories.
        long: steps of the long rollout.
        long_states: test trajectories that it begins from.
        extra: further overrides of the preset.
    """

    nlat: int = 64
    lmax: int = 43
    time_step: str = "1h"
    test: int = 24
    long: int = 1000
    long_states: int = 4
    extra: tuple[str, ...] = ()

    def overrides(self) -> list[str]:
        """Of the preset."""
        return [
            f"data.grid={{kind: legendre-gauss, nlat: {self.nlat}, nlon: {2 * self.nlat}}}",
            f"data.lmax={self.lmax}",
            f"data.time_step={self.time_step}",
            f"data.trajectories={{train: 60, validation: 0, test: {self.test}}}",
            "data.n_steps=20",
            f"model.dealias_lmax={self.lmax}",
            *self.extra,
        ]


FULL = Task()
HALF = Task(nlat=32, lmax=22, time_step="2h", test=8, long=200)


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Attributes:
        name: what it is called.
        lmax: truncation of the spectral branch over the rows of the grid.
        absent: branches that it does not have.
        overrides: of the preset, beyond those.
        transfer: whether its error on other grids is measured.
    """

    name: str
    lmax: float = 1.0
    absent: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    transfer: bool = False

    def config(self, task: Task, seed: int = 0) -> Config:
        """The experiment."""
        present = [
            f"model.branches.spectral.lmax={round(self.lmax * task.nlat)}",
            f"model.branches.integral.theta_cutoff={0.15 * 64 / task.nlat:g}",
        ]
        present = [o for o in present if o.split(".")[2] not in self.absent]
        gone = [f"model.branches.{name}=null" for name in self.absent]
        seeded = f"training.seed={seed}"
        return load_config(PRESET, [*task.overrides(), *present, *gone, *self.overrides, seeded])


@dataclass
class Result:
    """What one run gave.

    Attributes:
        name: of the variant.
        seed: of weights and order.
        configuration: the model's and the training's settings.
        parameters: of the network.
        errors: relative L2 error after steps 1 to 20.
        leaves: step of the long rollout at which the first of its trajectories has a value outside
            the truth's range, widened on either side by half its width; None if none does.
        rms: of the states at the end of that rollout over those of the truth's last states.
        non_finite: training steps whose loss was not finite.
        loss: mean over the last 100 training steps.
        seconds: of training.
        transfer: 1-step error on other grids over that on the own grid.
    """

    name: str
    seed: int
    configuration: dict[str, Any]
    parameters: int
    errors: list[float]
    leaves: int | None
    rms: list[float]
    non_finite: int
    loss: float
    seconds: float
    transfer: dict[str, float] = field(default_factory=dict)


# --- one run --------------------------------------------------------------------------------------


def run(variant: Variant, seed: int, task: Task, store: Store, device: torch.device) -> Result:
    """Train and measure one variant."""
    config = variant.config(task, seed)
    started = time.perf_counter()
    forecaster, losses = train(config, store, device)
    seconds = time.perf_counter() - started
    last = losses[-100:]
    return Result(
        variant.name,
        seed,
        config.model_dump(mode="json", include={"model", "training"}),
        sum(forecaster.network.parameter_counts().values()),
        **measure(forecaster, store, task),
        non_finite=sum(not math.isfinite(loss) for loss in losses),
        loss=sum(last) / len(last),
        seconds=seconds,
        transfer=transfer(forecaster, store) if variant.transfer else {},
    )


def train(config: Config, store: Store, device: torch.device) -> tuple[Forecaster, list[float]]:
    """A trained forecaster (with averaged weights, if so configured) and the losses."""
    training = config.training
    torch.manual_seed(training.seed)
    trainer = Trainer(Forecaster.from_store(config.model, store).to(device), training)
    losses = []
    for phase in phases(training.steps, training.rollout_steps, training.rollout_from):
        windows = Windows(store, "train", phase.n_steps)
        stream = batches(
            windows, training.batch_size, training.seed, phase.first, phase.last, workers=0
        )
        losses += [trainer.step([batch], phase.n_steps).loss for batch in stream]
    return trainer.averaged().eval(), losses


def measure(forecaster: Forecaster, store: Store, task: Task) -> dict[str, Any]:
    """Errors, and the step at which a long rollout leaves the truth's range."""
    truth = _test_states(store)
    low, high = truth.amin((0, 1, 3, 4)), truth.amax((0, 1, 3, 4))
    low, high = low - (high - low) / 2, high + (high - low) / 2
    device = forecaster.static.device
    steps = truth.shape[1] - 1
    start = store.time[:1].repeat(len(truth))
    errors = [
        float(relative_l2(forecaster, present.cpu(), truth[:, n]).mean())
        for n, (_, present) in enumerate(
            rollout(forecaster, truth[:, 0].to(device), start, steps), start=1
        )
    ]
    leaves = None
    first = truth[: task.long_states]
    for n, (_, present) in enumerate(
        rollout(forecaster, first[:, 0].to(device), start[: len(first)], task.long), start=1
    ):
        state = present.cpu()
        inside = (state.amin((0, 2, 3)) > low) & (state.amax((0, 2, 3)) < high)  # False for NaN
        if leaves is None and not inside.all():
            leaves = n
        if not state.isfinite().all():
            break
    area = store.grid.area_weights

    def size(x: Tensor) -> Tensor:
        return (_normalised(forecaster, x).square() * area).sum((-2, -1)).mean(0).sqrt()

    rms = (size(state) / size(first[:, -1])).tolist()
    return {"errors": errors, "leaves": leaves, "rms": rms}


def relative_l2(forecaster: Forecaster, prediction: Tensor, target: Tensor) -> Tensor:
    """Relative L2 error in normalised units, mean over channels, (b,)."""
    area = forecaster.grid.area_weights

    def norm(x: Tensor) -> Tensor:
        return (x.square() * area).sum((-2, -1)).sqrt()

    p, t = _normalised(forecaster, prediction), _normalised(forecaster, target)
    return (norm(p - t) / norm(t)).mean(-1)


def transfer(forecaster: Forecaster, store: Store) -> dict[str, float]:
    """1-step error on other grids, of the same fields sampled there, over that on the own grid."""
    pair, own = _test_states(store)[:, :2], store.grid
    start = store.time[:1].repeat(len(pair))
    errors = {}
    for nlat in (own.nlat, 2 * own.nlat, own.nlat // 2):
        grid = Grid.of(own.kind, nlat, own.nlon * nlat // own.nlat)
        fields = pair if grid == own else resample(pair.double(), own, grid).float()
        there = forecaster if grid == own else forecaster.on_grid(grid)
        ((_, prediction),) = rollout(there, fields[:, 0].to(there.static.device), start, 1)
        error = relative_l2(there, prediction.cpu(), fields[:, 1]).mean()
        errors[f"{grid.nlat}×{grid.nlon}"] = float(error)
    native = errors.pop(f"{own.nlat}×{own.nlon}")
    return {name: error / native for name, error in errors.items()}


def _normalised(forecaster: Forecaster, state: Tensor) -> Tensor:
    """A state on the CPU in standard deviations of the training data, float64."""
    n = forecaster.normalizer
    mean, std = n.mean.cpu().double(), n.std.cpu().double()
    return (state.double() - mean[:, None, None]) / std[:, None, None]


@lru_cache(maxsize=1)
def _test_states(store: Store) -> Tensor:
    """The test trajectories, (trajectory, time, c, h, w)."""
    return torch.stack([store.states(i, 0, len(store.time)) for i in store.split_indices("test")])


# --- what is compared -----------------------------------------------------------------------------


def ablation() -> list[Variant]:
    """The truncation of the spectral branch by the set of local branches."""
    return [
        Variant(f"{lmax} {name}", lmax / 64, absent)
        for lmax in (16, 32, 64)
        for name, absent in (
            ("none", ("integral", "differential")),
            ("integral", ("differential",)),
            ("differential", ("integral",)),
            ("both", ()),
        )
    ]


_MULTI_STEP = ("training.rollout_steps=4", "training.rollout_from=0.6")


def best() -> list[Variant]:
    """The preset's model: with a multi-step schedule at the end, in bf16, and on other grids."""
    return [
        Variant("best", transfer=True),
        Variant("best, multi-step", overrides=_MULTI_STEP),
        Variant("best, bf16", overrides=("training.precision=bf16",)),
        Variant("16 both, multi-step", 0.25, overrides=_MULTI_STEP),
    ]


def stability() -> list[Variant]:
    """What keeps a differential branch without enough spectral degrees from blowing up."""
    cut: dict[str, Any] = {"lmax": 0.25, "absent": ("integral",)}
    aliased = ("model.dealias_lmax=null",)
    return [
        Variant("aliased", **cut, overrides=aliased),
        Variant("aliased, multi-step", **cut, overrides=(*aliased, *_MULTI_STEP)),
        Variant("dealiased", **cut),
        Variant("dealiased, multi-step", **cut, overrides=_MULTI_STEP),
        Variant("second order", **cut, overrides=("model.branches.differential.order=2",)),
        Variant("weight decay", **cut, overrides=("training.weight_decay=0.1",)),
        Variant("averaged", **cut, overrides=("training.ema_decay=0.99",)),
    ]


def mlp() -> list[Variant]:
    """What follows the branches in a block, with as many parameters."""
    gelu = ("model.mlp=gelu", "model.mlp_ratio=2.0")
    return [Variant("products"), Variant("gelu", overrides=gelu)]


SETS: dict[str, Callable[[], list[Variant]]] = {
    "ablation": ablation,
    "best": best,
    "mlp": mlp,
    "stability": stability,
}


# --- the command ----------------------------------------------------------------------------------


def main() -> None:
    """Run a set of variants and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="store; made if it is not there")
    parser.add_argument("--set", choices=SETS, default="ablation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="", help="variants whose name contains this")
    parser.add_argument("--half", action="store_true", help="half the resolution")
    parser.add_argument("--steps", type=int, help="training steps, instead of the preset's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="results, written after every run")
    arguments = parser.parse_args()
    keep_freed_memory()
    task = HALF if arguments.half else FULL
    if arguments.steps:
        task = Task(**asdict(task) | {"extra": (f"training.steps={arguments.steps}",)})
    variants = [v for v in SETS[arguments.set]() if arguments.only in v.name]
    store, results = prepare(arguments.data, task), saved(arguments.json)
    for seed in arguments.seeds:
        for variant in variants:
            if any(r["name"] == variant.name and r["seed"] == seed for r in results):
                continue
            result = run(variant, seed, task, store, torch.device(arguments.device))
            print(line(result), flush=True)
            results.append(asdict(result))
            if arguments.json is not None:
                save(results, task, arguments.json)


def prepare(path: Path, task: Task) -> Store:
    """The task's store, generated if it is not there."""
    if not path.exists():
        from data_prep.generate import generate_shallow_water

        data = load_config(PRESET, task.overrides()).data
        assert isinstance(data, ShallowWaterData)
        generate_shallow_water(data, path)
    return Store(path)


def line(r: Result) -> str:
    """A run in a line."""
    errors = " ".join(f"{r.errors[n - 1]:.4f}" for n in LEADS if n <= len(r.errors))
    text = f"{r.name:24} seed {r.seed} {r.parameters:7d} parameters, errors {errors}, "
    text += f"leaves {r.leaves}, rms {max(r.rms):.2f}, loss {r.loss:.4f}, {r.seconds:.0f} s"
    return text + "".join(f", {grid} {ratio:.3f}" for grid, ratio in r.transfer.items())


def saved(path: Path | None) -> list[dict[str, Any]]:
    """The runs of an earlier call."""
    if path is None or not path.exists():
        return []
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"]
    return runs


def save(results: Sequence[dict[str, Any]], task: Task, path: Path) -> None:
    """Write the runs, with the task and the machine that they come from."""
    partial = path.with_name(f".{path.name}.partial")
    content = {"machine": machine(), "task": asdict(task), "runs": list(results)}
    text = json.dumps(content, indent=1)
    for number in ("NaN", "-Infinity", "Infinity"):  # of a rollout that blew up: no JSON
        text = text.replace(f" {number}", " null")
    partial.write_text(text + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
