"""Options of the contents of a forecast file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FileLayout = Literal["cf", "weatherbench2"]


@dataclass(frozen=True)
class OutputOptions:
    """Choice of what a rollout writes.

    Attributes:
        derive: Names of derived fields to compute; see `table.DERIVED`.
        variables: Names of channels and derived variables to write; all if empty.
        mean: Length of the periods over which mean, standard deviation, minimum and maximum are
            written, such as "1d", "1mo" or "all"; None to write none. See `Periods`.
        snapshots: False to write statistics of periods alone.
        layout: Names and dims of the file: ours, by CF; or those of WeatherBench 2.
        stop_implausible: True to end forecasts whose values are no longer plausible.
    """

    derive: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    mean: str | None = None
    snapshots: bool = True
    layout: FileLayout = "cf"
    stop_implausible: bool = False

    def __post_init__(self) -> None:
        """Check that the options fit together.

        Raises:
            ValueError: if nothing would be written, or if the layout cannot hold the statistics.
        """
        if not self.snapshots and self.mean is None:
            raise ValueError(
                "--no-snapshots leaves nothing to write without --mean; give a period with --mean, "
                "such as 1mo"
            )
        if self.layout == "weatherbench2" and self.mean is not None:
            raise ValueError(
                f"the layout of WeatherBench 2 has no statistics of periods; leave out --mean "
                f"{self.mean} or --layout weatherbench2"
            )
