"""Inputs of a report: runs, forecasts, scores, comparisons and climates, told apart by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from configs import layout
from configs.layout import LEAD_TIME
from forecast.inference.coordinates import CHANNELS
from forecast.inference.reading.open_file import open_output
from forecast.verification.climate.climate_file import COMPARISON

KINDS = "a run folder, a forecast, scores, a comparison or a climate"


@dataclass
class Inputs:
    """Inputs of a report by kind, each in the order in which they were given.

    Attributes:
        runs: Run folders.
        forecasts: Forecast files.
        scores: Scores files.
        comparisons: Comparisons of two forecasts.
        climates: Climate diagnostics.
        data: Store with the truth; None without it.
    """

    runs: list[Path] = field(default_factory=list)
    forecasts: list[Path] = field(default_factory=list)
    scores: list[Path] = field(default_factory=list)
    comparisons: list[Path] = field(default_factory=list)
    climates: list[Path] = field(default_factory=list)
    data: Path | None = None

    @classmethod
    def find(cls, paths: Sequence[str | Path], data: str | Path | None = None) -> Inputs:
        """Sort paths by what they are.

        Raises:
            FileNotFoundError: If one does not exist.
            ValueError: If one is none of the kinds.
        """
        inputs = cls(data=None if data is None else Path(data))
        if inputs.data is not None and not inputs.data.exists():
            raise FileNotFoundError(f"no store at {inputs.data}; give that of the truth")
        for path in map(Path, paths):
            if not path.exists():
                raise FileNotFoundError(f"nothing at {path}; expected {KINDS}")
            if (path / layout.CONFIG_FILE).is_file():
                inputs.runs.append(path)
                continue
            with open_output(path, KINDS, "forecast") as dataset:
                getattr(inputs, _kind(dataset, path)).append(path)
        return inputs


def _kind(dataset: xr.Dataset, path: Path) -> str:
    """Return the attribute of `Inputs` to which a file belongs."""
    if CHANNELS in dataset.attrs and LEAD_TIME in dataset.variables:
        return "forecasts"
    if "forecast_a" in dataset.attrs:
        return "comparisons"
    if COMPARISON in dataset.dims and "time_mean" in dataset.variables:
        return "climates"
    if "rmse" in dataset.variables and "forecast" in dataset.coords:
        return "scores"
    raise ValueError(f"{path} is not {KINDS}; give outputs of the commands of `forecast`")
