"""Events: values of a variable above a threshold, a number or a quantile of the training states.

t2m>303.15    precipitation>q95
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.store.reader import Store

_MOST_STATES = 512  # more states hardly change a quantile

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of events.

    Attributes:
        names: Names, such as t2m>303.15.
        channels: Index of the channel of each threshold, (t,).
        fields: Values (p,) or (1,) of each threshold, NaN at points that do not count.
    """

    names: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    fields: tuple[Array, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str], channel_names: Sequence[str], store: Store) -> Thresholds:
        """Return the thresholds of a command line.

        Args:
            texts: Thresholds `NAME>VALUE` in the unit of the variable, or `NAME>qPERCENT` for the
                quantile at each point over the training states of the store.
            channel_names: Names of the channels.
            store: Store with a training split, for quantiles.

        Raises:
            ValueError: If a text is no threshold, or the store has no training split.
        """
        texts, channels, fields = tuple(dict.fromkeys(texts)), [], []
        for text in texts:
            name, _, limit = (part.strip() for part in text.partition(">"))
            if name not in channel_names:
                raise ValueError(
                    f"threshold {text!r}; expected NAME>VALUE or NAME>qPERCENT, as t2m>303 or "
                    f"t2m>q95, with a name of {', '.join(channel_names)}"
                )
            channels.append(list(channel_names).index(name))
            fields.append(_field(text, name, limit, store))
        return cls(texts, tuple(channels), tuple(fields))


def _field(text: str, name: str, limit: str, store: Store) -> Array:
    """Return the values of a threshold."""
    is_quantile = limit.startswith("q")
    try:
        number = float(limit.removeprefix("q"))
        if is_quantile and not 0 < number < 100:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"threshold {text!r}; expected a number, or q and a percentage between 0 and 100, as "
            f"{name}>q95"
        ) from None
    return _quantile(store, name, number / 100) if is_quantile else np.array([number])


def _quantile(store: Store, name: str, q: float) -> Array:
    """Return a quantile (p,) over at most 512 training states, NaN where a point lacks values."""
    train = store.split_indices("train")
    channel = store.channel_names.index(name)
    steps = len(store.time) if store.has_trajectories else 1
    chosen = np.linspace(0, len(train) * steps - 1, min(len(train) * steps, _MOST_STATES))
    states = [
        store.state(int(train[place // steps]), int(place % steps))[channel].numpy()
        for place in chosen.round().astype(int)
    ]
    values: Array = np.quantile(np.stack(states), q, axis=0).ravel()
    return values
