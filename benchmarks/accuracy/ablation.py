"""Ablation of the branches: shallow water at T42 on 64×128, one hour ahead, from 1,200 pairs.

    python -m benchmarks.accuracy.ablation --data STORE [--set ablation|best|mlp|stability|transfer]
                                           [--seeds 0 1 2] [--only NAME] [--half] [--steps N]
                                           [--device cuda] [--json FILE]

Trains every variant of a set from the preset `swe`, and measures two things. First, the relative L2
error after each step, on 24 unseen trajectories of 20 steps: area-weighted norm of the difference
over that of the truth, both normalised by mean and standard deviation of the training data; mean
over channels, then over trajectories. Second, the number of steps for which a rollout of 1,000
stays within the range of the truth. The store is generated if it does not exist. `--half` is the
same flow at half the resolution and twice the time step: T21 on 32×64, two hours, every truncation
halved and every angle doubled, at a fifth of the cost. The JSON file also holds the errors of
persistence. It is written after every run, and runs in it are not repeated.
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
    """Measurements of one run.

    Attributes:
        name: Name of the variant.
        seed: Seed of the weights and of the order of the batches.
        configuration: Settings of the model and of the training.
        parameters: Number of parameters of the network.
        errors: Relative L2 error after steps 1 to 20.
        leaves: Step of the long rollout at which a value leaves the range of the truth, widened by
            half its width on either side; None if none does.
        rms: Root mean square of the states at the end of that rollout, relative to the last states
            of the truth, by channel.
        non_finite: Number of training steps with a loss that was not finite.
        loss: Mean loss over the last 100 training steps.
        seconds: Training time, s.
        transfer: 1-step error on other grids relative to the training grid, with operators
            discretised there, and with fields resampled to the training grid and back.
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
    """Return a trained forecaster (with averaged weights if configured) and the losses."""
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
    parser.add_argument("--data", type=Path, required=True, help="store; generated if absent")
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
    """Open the store of a task, and generate it first if it is absent."""
    if not path.exists():
        from data_prep.shallow_water.generate import generate_shallow_water

        data = load_config(PRESET, task.overrides()).data
        assert isinstance(data, ShallowWaterData)
        generate_shallow_water(data, path)
    return Store(path)


def line(r: Result) -> str:
    """Return one line about a run."""
    text = f"{r.name:24} seed {r.seed} {r.parameters:7d} parameters, errors {_some(r.errors)}, "
    text += f"leaves {r.leaves}, rms {max(r.rms):.2f}, loss {r.loss:.4f}, {r.seconds:.0f} s"
    return text + "".join(f", {grid} {ratio:.3f}" for grid, ratio in r.transfer.items())


def _some(errors: Sequence[float]) -> str:
    return " ".join(f"{errors[n - 1]:.4f}" for n in LEADS if n <= len(errors))


def saved(path: Path | None) -> list[dict[str, Any]]:
    """Return the runs of an earlier call."""
    if path is None or not path.exists():
        return []
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"]
    return runs


def save(
    results: Sequence[dict[str, Any]], unchanged: Sequence[float], task: Task, path: Path
) -> None:
    """Write the runs and persistence, with descriptions of the task and the machine."""
    partial = path.with_name(f".{path.name}.partial")
    content: dict[str, Any] = {"machine": machine(), "task": asdict(task)}
    content |= {"persistence": list(unchanged), "runs": list(results)}
    text = json.dumps(content, indent=1)
    for number in ("NaN", "-Infinity", "Infinity"):  # of a rollout that diverged: not JSON
        text = text.replace(f" {number}", " null")
    partial.write_text(text + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
