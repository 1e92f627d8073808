"""Agreement of several models in one forecast, or in one ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from forecast.model.forecaster import Forecaster
from forecast.model.resampling import ResamplingForecaster
from sphere_ops.parallel.mesh import current


def check_agree(
    models: Sequence[Forecaster | ResamplingForecaster], names: Sequence[str], what_they_are: str
) -> None:
    """Raise a ValueError if models differ in what they have to share.

    Args:
        models: Models on the grid of the initial states.
        names: Name of each model, for the message.
        what_they_are: Such as "members of one ensemble", for the message.
    """
    first = models[0]
    for model, name in zip(models[1:], names[1:], strict=True):
        for what, ours, theirs in (
            ("channels", first.channel_names, model.channel_names),
            ("given channels", _given(first), _given(model)),
            ("grid", first.grid, model.grid),
            ("channels with a moving mask", tuple(first.moving_mask), tuple(model.moving_mask)),
            ("time step", first.time_step.label, model.time_step.label),
        ):
            if ours != theirs:
                raise ValueError(
                    f"{what_they_are} need models with the same {what}: {names[0]} has "
                    f"{_text(ours)}, {name} has {_text(theirs)}; forecast with each on its own"
                )
        if current().any_rank(not _same_mask(first.mask, model.mask)):
            raise ValueError(
                f"{what_they_are} need models with the same mask, which {names[0]} and "
                f"{name} do not have; forecast with each on its own"
            )


def _given(model: Forecaster | ResamplingForecaster) -> tuple[str, ...]:
    return tuple(v.name for v in model.forcing_channels)


def _same_mask(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def _text(value: object) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)
