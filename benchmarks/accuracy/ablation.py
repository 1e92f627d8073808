"""Ablation of the branches: shallow water at T42 on 64×128, one hour ahead, from 1,200 pairs.

    python -m benchmarks.accuracy.ablation --data STORE [--set ablation|best|mlp|stability]
                                           [--seeds 0 1 2] [--only NAME] [--half] [--steps N]
                                           [--device cuda] [--json FILE]

Trains every variant of a set from the preset `swe` and measures, on 24 unseen trajectories of 20
steps, the relative L2 error after each step (area-weighted norm of the difference over that of the
truth, both less the mean of the training data and in its standard deviations; mean over channels,
then over trajectories), and how long a rollout of 1,000 steps stays within the range of the truth.
The store is generated if it does not exist. `--half` is the same flow at half the resolution and
twice the time step: T21 on 32×64, two hours, every truncation halved and every angle doubled, at a
fifth of the cost. The JSON file holds the errors of persistence too; it is written after every run,
and runs that it has are not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy.ablation_errors import measure, persistence, transfer
from benchmarks.accuracy.ablation_variants import FULL, HALF, PRESET, SETS, Task, Variant
from benchmarks.speed.measure import machine, selected
from configs.load import load_config
from configs.schema import Config, ShallowWaterData
from forecast.model.forecaster import Forecaster
from forecast.training.batches import Store, Windows, batches
from forecast.training.schedule import phases
from forecast.training.trainer import Trainer
from sphere_ops.memory import keep_freed_memory

LEADS = (1, 5, 20)


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
        transfer: 1-step error on other grids over that on the own grid, of operators discretised
            there, and of fields resampled to the own grid and back.
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
        **measure(forecaster, store, task.long, task.long_states),
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
    every = SETS[arguments.set]()
    names = selected(parser, arguments.only, [v.name for v in every])
    variants = [v for v in every if v.name in names]
    keep_freed_memory()
    task = HALF if arguments.half else FULL
    if arguments.steps:
        task = Task(**asdict(task) | {"extra": (f"training.steps={arguments.steps}",)})
    store, results = prepare(arguments.data, task), saved(arguments.json)
    unchanged = persistence(store)
    print(f"{'persistence':24} errors {_some(unchanged)}", flush=True)
    if arguments.json is not None:
        save(results, unchanged, task, arguments.json)
    for seed in arguments.seeds:
        for variant in variants:
            if any(r["name"] == variant.name and r["seed"] == seed for r in results):
                continue
            result = run(variant, seed, task, store, torch.device(arguments.device))
            print(line(result), flush=True)
            results.append(asdict(result))
            if arguments.json is not None:
                save(results, unchanged, task, arguments.json)


def prepare(path: Path, task: Task) -> Store:
    """The task's store, generated if it is not there."""
    if not path.exists():
        from data_prep.shallow_water.generate import generate_shallow_water

        data = load_config(PRESET, task.overrides()).data
        assert isinstance(data, ShallowWaterData)
        generate_shallow_water(data, path)
    return Store(path)


def line(r: Result) -> str:
    """A run in a line."""
    text = f"{r.name:24} seed {r.seed} {r.parameters:7d} parameters, errors {_some(r.errors)}, "
    text += f"leaves {r.leaves}, rms {max(r.rms):.2f}, loss {r.loss:.4f}, {r.seconds:.0f} s"
    return text + "".join(f", {grid} {ratio:.3f}" for grid, ratio in r.transfer.items())


def _some(errors: Sequence[float]) -> str:
    return " ".join(f"{errors[n - 1]:.4f}" for n in LEADS if n <= len(errors))


def saved(path: Path | None) -> list[dict[str, Any]]:
    """The runs of an earlier call."""
    if path is None or not path.exists():
        return []
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"]
    return runs


def save(
    results: Sequence[dict[str, Any]], unchanged: Sequence[float], task: Task, path: Path
) -> None:
    """Write the runs and persistence, with the task and the machine that they come from."""
    partial = path.with_name(f".{path.name}.partial")
    content: dict[str, Any] = {"machine": machine(), "task": asdict(task)}
    content |= {"persistence": list(unchanged), "runs": list(results)}
    text = json.dumps(content, indent=1)
    for number in ("NaN", "-Infinity", "Infinity"):  # of a rollout that blew up: no JSON
        text = text.replace(f" {number}", " null")
    partial.write_text(text + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
