"""Share of forecasts of some weeks that go wrong: leave the range of the truth, or fill the limits.

    python -m benchmarks.accuracy.atmosphere.lasting PACKAGE ... --names NAME ... --data STORE
        [--split validation|test] [--splits YAML] [--starts N] [--days N] --json FILE

Evenly spaced states of a split are followed. Without limits a forecast goes wrong where a channel
leaves the range of the training data, widened by half its width. With them it does where more than
1 % of the values that the model feeds back are out of their limits before these act.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy.atmosphere.packages import arguments, store_of
from benchmarks.accuracy.atmosphere.scores import forecast_steps, predicted_channels
from benchmarks.accuracy.records import digest, write
from benchmarks.speed.measure import machine
from configs import layout
from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.model.limiter import RangeLimiter
from forecast.model.package import load_package, weights_digest
from forecast.training.tracking.git import git_commit
from sphere_ops.memory import keep_freed_memory

_FULL = 0.01  # share of values that are out of their limits


def wrong_from(
    forecaster: Forecaster, store: Store, starts: np.ndarray, steps: int
) -> list[int | None]:
    """Return the step at which each forecast goes wrong, or None.

    Args:
        forecaster: Model, with a range limiter or without limits.
        store: Store with its channels and forcings.
        starts: Indices of the initial times.
        steps: Number of steps of a forecast.
    """
    found: list[int | None] = [None] * len(starts)
    limiter = forecaster.range_limiter
    shares: list[Tensor] = []
    if limiter is not None:

        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, RangeLimiter)
            shares.append(module.share_outside(inputs[0]))

        limiter.register_forward_pre_hook(note)
    chosen = predicted_channels(store)
    range_ = (store.statistics[of][chosen] for of in (layout.MINIMUM, layout.MAXIMUM))
    low, high = (x.reshape(-1, 1, 1) for x in range_)
    margin = (high - low) / 2
    for n, fields in forecast_steps(forecaster, store, starts, steps):
        if limiter is not None:
            wrong = shares.pop() > _FULL
        else:
            inside = (fields >= low - margin) & (fields <= high + margin)  # NaN is not
            wrong = ~inside.flatten(1).all(1)
        for i in torch.nonzero(wrong).flatten().tolist():
            found[i] = n if found[i] is None else found[i]
    return found


def measured(
    package: Path, name: str, store: Store, starts: np.ndarray, days: int
) -> dict[str, Any]:
    """Return when the forecasts of a package go wrong, with limits and without, in its steps."""
    record: dict[str, Any] = {"row": name, "weights": weights_digest(package)}
    for limits in (True, False):
        forecaster = load_package(package).eval()
        record["hours"] = hours = forecaster.time_step.hours
        assert hours is not None
        if not limits:
            forecaster.remove_limiters()
        elif forecaster.range_limiter is None:
            raise ValueError(f"{package} has no model.range_limit; give a model that has")
        found = wrong_from(forecaster, store, starts, round(24 * days / hours))
        record["with limits" if limits else "without limits"] = found
        went = sum(n is not None for n in found)
        print(f"{name:14} limits {limits!s:5} {went} of {len(found)} {found}", flush=True)
    return record


def main() -> None:
    """Follow the forecasts of the packages and write one file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--starts", type=int, default=12)
    parser.add_argument("--days", type=int, default=40)
    args = arguments(parser)
    keep_freed_memory()
    store = store_of(args)
    hours = store.time_step.hours
    assert hours is not None
    indices = store.split_indices(args.split)
    last = len(indices) - 1 - round(24 * args.days / hours)
    starts = indices[np.linspace(0, last, args.starts).round().astype(int)]
    runs = [
        measured(Path(package), name, store, starts, args.days)
        for package, name in zip(args.packages, args.names, strict=True)
    ]
    about: dict[str, Any] = {"commit": git_commit(), "machine": machine(), "data": digest(store)}
    about |= {"split": args.split, "days": args.days}
    about["starts"] = [str(store.time[i].astype("M8[h]")) for i in starts]
    write(args.json, about | {"runs": runs})


if __name__ == "__main__":
    main()
