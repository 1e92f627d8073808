"""Accumulated variables: the periods that their values cover, and their units."""

from __future__ import annotations

import numpy as np
import xarray as xr

from configs.schema import FilesData
from configs.time.calendar import SECOND, Calendar, Times
from configs.time.step import TimeStep
from configs.variables import Variable, VariableTable
from data_prep.ingest.catalogue.fields import AmbiguousField, Amount
from data_prep.ingest.catalogue.units import Conversion, amount_rate_conversion, conversion

_HOUR = 3600


def amount_of(
    dataset: xr.Dataset,
    name: str,
    units: str,
    channel: Variable,
    config: FilesData,
    table: VariableTable,
    time: Times,
    start: Times | None,
    calendar: Calendar,
    step: TimeStep,
) -> Amount | None:
    """Return the period that the values of a variable cover; None for values at an instant.

    The period is that of the configuration, of the name (total_precipitation_6hr) or of the GRIB
    attributes; mean rates cover the interval of their times, the values of hourly files an hour.

    Raises:
        AmbiguousField: if none of these tells the period.
    """
    if not (channel.accumulated or channel.rate_of) or not len(time):
        return None
    is_rate = _is_rate(units, channel)
    if channel.rate_of and is_rate and name not in config.accumulation:
        return None  # a mean rate of a file is taken as it is
    if step.is_calendar:
        return None  # a monthly mean is taken as it is
    given = (
        config.accumulation.get(name)
        or table.period_of(name)
        or dataset[name].attrs.get("accumulation")
    )
    if given == "forecast":
        if start is None:
            raise ValueError(
                f"data.accumulation.{name} is forecast, but the file has no start of a forecast; "
                "give the period that each value covers, such as 1h"
            )
        return Amount(None, is_rate)
    if given is not None:
        seconds = TimeStep.parse(given).seconds
        if seconds is None:
            raise ValueError(f"data.accumulation.{name} is {given}; expected a period such as 1h")
        return Amount(seconds, is_rate)
    elapsed = np.unique(calendar.elapsed(time)) // SECOND
    spacing = int(np.diff(elapsed).min()) if len(elapsed) > 1 else 0
    if is_rate and spacing:
        return Amount(spacing, is_rate)
    if spacing == _HOUR:
        return Amount(_HOUR, is_rate)
    raise AmbiguousField(
        "the period over which its values are accumulated is not stated",
        f"give it with data.accumulation.{name}=1h, or forecast for accumulation from the start of "
        "the forecast",
    )


def converted(units: str, channel: Variable, amount: Amount | None) -> Conversion:
    """Return the conversion of an entry to the units of the channel.

    Rates become amounts of their period. Amounts become rates of their period, whose mean is taken
    later.

    Raises:
        ValueError: if the units do not convert.
    """
    if amount is None or amount.rate == bool(channel.rate_of):
        return conversion(units, channel.units)
    return amount_rate_conversion(units, channel.units, amount.seconds or 1)


def _is_rate(units: str, channel: Variable) -> bool:
    """Return True if units are those of a rate of an accumulated channel."""
    try:
        conversion(units, channel.units)
        return bool(channel.rate_of)
    except ValueError:
        pass
    try:
        amount_rate_conversion(units, channel.units, 1)
    except ValueError:
        return False
    return not channel.rate_of
