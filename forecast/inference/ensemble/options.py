"""Text of a perturbation, KIND:OPTION=VALUE,..., and the values of its options."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from configs.length import parse_length
from configs.time.step import TimeStep

Values = Mapping[str, Any]
"""Values of options by name. Those of one channel have the name OPTION.CHANNEL."""


@dataclass(frozen=True)
class Option:
    """Option of a kind of perturbation.

    Attributes:
        default: Text of the value that it has unless it is given.
        read: Function that returns the value of a text, and raises a ValueError for a wrong one.
        allowed: Allowed values, in words.
        read_channel: The same function for OPTION.CHANNEL; None if channels have no values of
            their own.
        allowed_channel: Allowed values of OPTION.CHANNEL.
    """

    default: str
    read: Callable[[str], Any]
    allowed: str
    read_channel: Callable[[str], Any] | None = None
    allowed_channel: str = ""


def parse(
    text: str, kinds: Mapping[str, Mapping[str, Option]]
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Read the text of a perturbation.

    Args:
        text: KIND, or KIND:OPTION=VALUE,...
        kinds: Options of each kind by name.

    Returns:
        The kind; the values of its options, and their texts, with those that are not given.

    Raises:
        ValueError: If the kind or an option is unknown, or a value is not allowed. The message
            names the option, its value and what is allowed.
    """
    kind, _, rest = str(text).strip().partition(":")
    if kind not in kinds:
        raise ValueError(f"perturbation {text!r}: {_unknown('kind', kind, list(kinds))}")
    options = kinds[kind]
    values = {name: option.read(option.default) for name, option in options.items()}
    texts = {name: option.default for name, option in options.items()}
    given: set[str] = set()
    for part in filter(None, (part.strip() for part in rest.split(","))):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        base, _, channel = name.partition(".")
        option = options.get(base)
        if option is None:
            raise ValueError(f"perturbation {text!r}: {_unknown('option', name, list(options))}")
        if not sign or not value:
            raise ValueError(f"perturbation {text!r}: option {name!r} has no value; {_hint(base)}")
        if name in given:
            raise ValueError(f"perturbation {text!r}: option {name!r} is given twice; give it once")
        given.add(name)
        read, allowed = option.read, option.allowed
        if channel:
            if option.read_channel is None:
                raise ValueError(
                    f"perturbation {text!r}: option {base!r} is for all channels, got {name!r}; "
                    f"{_hint(base)}"
                )
            read, allowed = option.read_channel, option.allowed_channel
        try:
            values[name] = read(value)
        except ValueError:
            raise ValueError(
                f"perturbation {text!r}: {name} is {value!r}; expected {allowed}"
            ) from None
        texts[name] = value
    return kind, values, texts


def by_channel(values: Values, option: str, channels: Sequence[str]) -> list[Any]:
    """Return the values of an option for each channel.

    Raises:
        ValueError: If a value is given for a channel that there is not.
    """
    named = {name for name in values if name.startswith(f"{option}.")}
    check_channels([n.partition(".")[2] for n in sorted(named)], channels, f"{option}.CHANNEL")
    return [values.get(f"{option}.{channel}", values[option]) for channel in channels]


def check_channels(names: Sequence[str], channels: Sequence[str], option: str) -> None:
    """Raise a ValueError if a name is not one of the channels.

    Args:
        names: Names that are given.
        channels: Short names of the channels that there are.
        option: Option that names them, for the message.
    """
    for name in names:
        if name not in channels:
            raise ValueError(
                f"option {option} names {name!r}; expected one of the channels that "
                f"are fed back: {', '.join(channels)}"
            )


# --- options of several kinds -----------------------------------------------------------------


def positive_number(default: str) -> Option:
    """Return an option of positive numbers, also for single channels."""
    allowed = "a positive number, such as 0.1"
    return Option(default, _positive, allowed, _positive, allowed)


def whole_number(default: str, *, least: int = 1) -> Option:
    """Return an option of whole numbers from `least` on."""

    def read(text: str) -> int:
        if int(text) < least:
            raise ValueError(text)
        return int(text)

    return Option(default, read, f"a whole number from {least} on")


def length(default: str) -> Option:
    """Return an option of lengths, which stay texts: the radius of the sphere is not known yet."""

    def read(text: str) -> str:
        parse_length(text)
        return text

    return Option(default, read, "a positive length with its unit, such as 500km or 5deg")


def interval(default: str) -> Option:
    """Return an option of intervals: numbers of model steps (int), or a `TimeStep`."""

    def read(text: str) -> int | TimeStep:
        if text.isdecimal() and int(text) > 0:
            return int(text)
        return TimeStep.parse(text)

    return Option(default, read, "a number of model steps, or an interval such as 6h or 1d")


def choice(default: str, *allowed: str) -> Option:
    """Return an option with some allowed texts."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return Option(default, read, f"{', '.join(allowed[:-1])} or {allowed[-1]}")


def switch(default: str) -> Option:
    """Return an option that is on or off, bool."""
    chosen = choice(default, "yes", "no")
    return Option(default, lambda text: chosen.read(text) == "yes", chosen.allowed)


def names(default: str) -> Option:
    """Return an option of names with + between them; `all` is None."""
    return Option(
        default,
        lambda text: None if text == "all" else [n.strip() for n in text.split("+")],
        "channels with + between them, such as z500+t850, or all",
    )


def n_steps(value: int | TimeStep, time_step: TimeStep, option: str) -> int:
    """Return the number of model steps of an interval.

    Raises:
        ValueError: If it is no whole number.
    """
    if isinstance(value, int):
        return value
    found = value.multiple_of(time_step)
    if found is None:
        raise ValueError(
            f"{option} is {value.label}, which is no multiple of the time step "
            f"{time_step.label} of the model; give a multiple, or a number of steps"
        )
    return found


def _positive(text: str) -> float:
    number = float(text)
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(text)
    return number


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name.partition(".")[0], known, n=1)
    nearest = f" (nearest: {near[0]})" if near else ""
    return f"unknown {what} {name!r}{nearest}; expected one of {', '.join(known)}"


def _hint(option: str) -> str:
    return f"write {option}=VALUE, with commas between options"
