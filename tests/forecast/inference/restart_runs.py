"""Rollout that a test kills and starts again, in processes of its own."""

import time
from pathlib import Path

import torch

from forecast.inference import writer
from forecast.inference.forecast import run_rollout
from forecast.inference.output.options import OutputOptions
from forecast.inference.writing import blocks
from forecast.model.state import State
from forecast.training.processes import all_processes
from sphere_ops.parallel.mesh import current
from tests.forecast.stand_in import Turning

N_STEPS = 120
_LIMIT = 12.0
"""Departure of the first channel from its mean at which a forecast ends."""


class Growing(Turning):
    """Model whose forecasts become implausible and then infinite, at steps that differ."""

    def __init__(self, store: Path) -> None:
        """Take some time for a step, in which nothing is computed."""
        super().__init__(store, 1.02)

    def step(self, state: State) -> State:
        """Step the state; the end of a forecast follows from its fields alone."""
        time.sleep(0.002)
        following = super().step(state)
        first = following.fields[:, :1]
        first[(first - self.store.statistics["mean"].float()[0]).abs() > _LIMIT] = torch.inf
        return following


def rollout_to_kill(store: Path, path: Path, latitude: int | None) -> None:
    """Begin a rollout or go on with one, and write its reports and its seconds beside the file.

    Args:
        store: Store of trajectories.
        path: Forecast file.
        latitude: Ranks along latitude of a mesh; None for a single process.
    """
    writer._PAUSE, writer._COSTS, blocks._PIECE_BYTES = 0.02, 0, 5 * 4 * 8 * 16
    if latitude is None:
        _rollout(store, path)
    else:
        with all_processes(latitude):
            _rollout(store, path)


def _rollout(store: Path, path: Path) -> None:
    began = time.monotonic()
    reports = run_rollout(
        Growing(store),
        store,
        path,
        split="train",
        n_steps=N_STEPS,
        every=2,
        batch_size=2,
        output=OutputOptions(mean="10h"),
        restart=True,
    )
    if current().is_first:
        path.with_suffix(".seconds").write_text(str(time.monotonic() - began))
        path.with_suffix(".txt").write_text("\n".join(map(str, reports)))
