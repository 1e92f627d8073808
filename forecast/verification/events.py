"""Events: values of a variable above a threshold, a number or a quantile of the training states.

    t2m>303.15    tp>1mm    tp>q95

Fractions of events are compared in neighbourhoods:

    tp>1mm:100km    tp>q95:100km,500km
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.length import parse_length
from data_prep.store.reader import Store
from forecast.verification.precipitation import one_mm
from sphere_ops.grid import EARTH_RADIUS

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
            texts: Thresholds `NAME>VALUE` in the unit of the variable, `NAME>VALUEmm` for amounts
                and rates of precipitation, or `NAME>qPERCENT` for the quantile at each point over
                the training states of the store.
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


@dataclass(frozen=True)
class Fractions:
    """Events whose fractions are compared in neighbourhoods.

    Attributes:
        names: Names, such as tp>1mm:100km.
        thresholds: Threshold of each of them.
        radii: Radius of the neighbourhood of each of them, km.
    """

    names: tuple[str, ...] = ()
    thresholds: tuple[Thresholds, ...] = ()
    radii: tuple[float, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str], channel_names: Sequence[str], store: Store) -> Fractions:
        """Return the events and radii of a command line.

        Args:
            texts: `THRESHOLD:RADIUS` or `THRESHOLD:RADIUS,RADIUS`, with a threshold of
                `Thresholds.parse` and lengths of `configs.length.parse_length`.
            channel_names: Names of the channels.
            store: Store with a training split, for quantiles.

        Raises:
            ValueError: If a text is none of these, or the store has no training split.
        """
        found: dict[str, tuple[Thresholds, float]] = {}
        for text in texts:
            event, _, lengths = text.partition(":")
            if not lengths.strip():
                raise ValueError(
                    f"fractions {text!r}; expected an event and the radius of its neighbourhoods, "
                    "as 'tp>1mm:100km' or 'tp>1mm:100km,500km'"
                )
            threshold = Thresholds.parse([event.strip()], channel_names, store)
            for length in (part.strip() for part in lengths.split(",")):
                try:
                    radius = parse_length(length) * EARTH_RADIUS / 1e3
                except ValueError as error:
                    raise ValueError(f"fractions {text!r}: {error}") from None
                found[f"{event.strip()}:{length}"] = threshold, radius
        thresholds, radii = zip(*found.values(), strict=True) if found else ((), ())
        return cls(tuple(found), thresholds, radii)


def _field(text: str, name: str, limit: str, store: Store) -> Array:
    """Return the values of a threshold."""
    is_quantile, in_mm = limit.startswith("q"), limit.endswith("mm")
    unit = one_mm(store.channels[store.channel_names.index(name)], store.time_step)
    expected = f"a number{' (in mm as 1mm)' if unit else ''}, or q and a percentage"
    try:
        number = float(limit.removesuffix("mm") if in_mm else limit.removeprefix("q"))
        if not np.isfinite(number) or (is_quantile and not 0 < number < 100):
            raise ValueError
        if in_mm and unit is None:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"threshold {text!r}; expected {expected} between 0 and 100, as {name}>q95"
        ) from None
    if is_quantile:
        return _quantile(store, name, number / 100)
    return np.array([number * unit if in_mm and unit else number])


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
