"""Numbers of channels with which a peer has the size of our network, or its time per step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from benchmarks.accuracy.atmosphere.rows import build_of, config_of, peer_of
from benchmarks.accuracy.study.sizes import nearest
from benchmarks.speed.measure import interleaved
from configs.schema import Config
from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.training.samples.batches import Windows
from forecast.training.trainer import Trainer

_RUNS = 5


def sized(row: str, preset: str, overrides: Sequence[str], store: Store) -> list[str]:
    """Return further overrides of a peer, with its number of channels; none of our networks.

    Args:
        row: Name of the row.
        preset: Name of the preset.
        overrides: Overrides of all rows.
        store: Data of the training.
    """
    if peer_of(row) is None:
        return []
    ours = _forecaster("all", config_of(preset, "all", 0, overrides), store)

    def size(channels: int) -> list[str]:
        return ["model.mlp_ratio=2", f"model.channels={channels}"]

    def peer(channels: int) -> tuple[Config, Forecaster]:
        config = config_of(preset, row, 0, [*overrides, *size(channels)])
        return config, _forecaster(row, config, store)

    if row.endswith("-time"):
        step = training_step(ours, config_of(preset, "all", 0, overrides), store)

        def ratio(channels: int) -> float:
            config, forecaster = peer(channels)
            steps = {"peer": training_step(forecaster, config, store), "ours": step}
            times = interleaved(steps, _RUNS, torch.device("cpu"))
            return times["peer"].minimum / times["ours"].minimum

        channels = nearest(ratio, 1.0)
    else:
        channels = nearest(lambda n: _parameters(peer(n)[1]), _parameters(ours))
    return size(channels)


def training_step(forecaster: Forecaster, config: Config, store: Store) -> Callable[[], object]:
    """Return a training step on the first windows of the training data, without replay buffer."""
    trainer = Trainer(forecaster, config.training.model_copy(update={"replay_steps": 0}))
    windows = Windows(store, "train", 1, forecaster.n_history)
    batch = windows.batch(range(config.training.batch_size))
    return partial(trainer.step, [batch], 1)


def _forecaster(row: str, config: Config, store: Store) -> Forecaster:
    return Forecaster.from_store(config.model, store, build_of(row))


def _parameters(forecaster: Forecaster) -> int:
    return sum(forecaster.network.parameter_counts().values())
