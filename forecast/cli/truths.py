"""Truth from gridded files, as a temporary store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from forecast.cli.console import progress
from forecast.cli.starts import is_store, temporary_store

if TYPE_CHECKING:
    from configs.variables import Variable
    from forecast.inference.reader import ForecastFile


@contextmanager
def truth_from(words: str | None, forecast: Path) -> Iterator[Path | None]:
    """Find a store, or make a temporary one of the true states of a forecast in gridded files.

    In a mesh all processes call this, and the first one reads the files.

    Args:
        words: Path of a store; or a file, glob, folder or address that `forecast data ingest`
            reads; None for no truth of its own.
        forecast: Forecast file, which gives the variables, their units, the grid and the times.

    Yields:
        Path of the store.

    Raises:
        FileNotFoundError: if there is no such file or forecast.
        ValueError: if the files lack the variables or all times. The message names the files.
    """
    if words is None or is_store(Path(words)):
        yield None if words is None else Path(words)
        return
    from forecast.inference.reader import ForecastFile

    def make(store: Path) -> None:
        try:
            _ingest(words, ForecastFile(forecast), store)
        except ValueError as error:
            raise ValueError(f"no truth of {forecast} from {words}: {error}") from error

    with temporary_store(words, make) as store:
        yield store


def _ingest(words: str, file: ForecastFile, out: Path) -> None:
    """Write a store of the states of files at the valid times of a forecast."""
    from configs.schema import FilesData
    from configs.variables import BUILT_IN
    from data_prep.ingest.run import ingest

    calendar, grid = file.time_step.calendar, file.grid
    first, last = (calendar.label(t, "s") for t in (file.valid_time.min(), file.valid_time.max()))
    masked = [n for n, mask in zip(file.channel_names, file.mask, strict=True) if not mask.all()]
    moving = [n for n, moves in zip(file.channel_names, file.moving, strict=True) if moves]
    data = FilesData.model_validate(
        {
            "variables": file.channel_names,
            "grid": {"kind": grid.kind, "nlat": grid.nlat, "nlon": grid.nlon},
            "time_step": file.time_step.label,
            "times": {"first": first, "last": last, "gaps": True},
            "mask": [name for name in masked if name not in moving],
            "moving_mask": moving,
        }
    )
    with progress("states read") as update:
        table = BUILT_IN.extended(BUILT_IN.entries_beyond(_channels(file)))
        ingest([words], data, out, table=table, progress=update)


def _channels(file: ForecastFile) -> Iterator[Variable]:
    """Yield the channels of a forecast file, with the units in the file."""
    from configs.variables import Variable

    for name in file.channel_names:
        attributes = file.dataset[name].attrs
        long_name = str(attributes.get("long_name", name))
        yield Variable(name, long_name, str(attributes.get("units", "1")))
