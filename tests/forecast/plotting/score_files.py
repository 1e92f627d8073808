"""Scores files of known content, with the layout of `forecast evaluate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

DIMS = ("forecast", "region", "channel", "lead_time")
LEADS = np.arange(0, 6 * 24 + 1, 24)  # hours


def _coordinates() -> dict:
    hours = {"units": "hours", "dtype": "timedelta64[ns]"}
    return {
        "region": ["global", "tropics"],
        "channel": ["z500", "t850"],
        "channel_long_name": ("channel", ["Geopotential at 500 hPa", "Temperature at 850 hPa"]),
        "channel_units": ("channel", ["m2 s-2", "K"]),
        "lead_time": ("lead_time", LEADS.astype(np.int32), hours),
    }


def write_scores(path: Path, n_members: int = 8) -> Path:
    """Write scores of an ensemble and of persistence."""
    day = LEADS / 24
    size = np.array([100.0, 1.5])[:, None]
    growth = np.stack([np.stack([size * day, 0.7 * size * day])] * 2)  # (f, r, c, k)
    growth[1] *= 2
    rmse = growth / (1 + 0.1 * day)
    scores = xr.Dataset(
        {
            "rmse": (DIMS, rmse, {"long_name": "Root mean square error"}),
            "rmse_lower": (DIMS, 0.9 * rmse, {"confidence": 0.95}),
            "rmse_upper": (DIMS, 1.1 * rmse, {"confidence": 0.95}),
            "acc": (DIMS, np.exp(-growth / size / 8), {"units": "1"}),
            "spread": (DIMS, np.where(np.arange(2)[:, None, None, None], np.nan, 0.8 * rmse)),
            "n_forecasts": ("lead_time", np.full(len(day), 20)),
        },
        _coordinates() | {"forecast": ["model", "persistence"]},
        {"title": "Scores of the forecast test.nc", "time_step": "24h"},
    )
    u_shape = 1 + np.linspace(-1, 1, n_members + 1) ** 2
    counts = np.broadcast_to(u_shape / u_shape.sum(), (2, 2, 2, len(day), n_members + 1))
    scores["rank_histogram"] = (*DIMS, "rank"), counts
    p = np.linspace(0.05, 0.95, 10)
    area = np.exp(-4 * p)
    overconfident = 0.5 + 0.6 * (p - 0.5)
    shape = (2, 2, 2, len(day), 2, 10)
    for name, values in (
        ("area", area),
        ("probability", area * p),
        ("observed", area * overconfident),
    ):
        of_bins = np.broadcast_to(values / area.sum(), shape).copy()
        of_bins[:, :, 0, :, 1] = np.nan  # an event of the second channel
        of_bins[:, :, 1, :, 0] = np.nan
        scores[f"reliability_{name}"] = (*DIMS, "threshold", "probability_bin"), of_bins
    scores = scores.assign_coords(threshold=["z500>q90", "t850>280"])
    scores.to_netcdf(path)
    return path


def write_comparison(path: Path) -> Path:
    """Write a comparison in which A is better for z500, and worse for t850 from day 3 on."""
    dims, day = DIMS[1:], LEADS / 24
    of_b = np.stack([np.stack([100.0 * day, 1.5 * day])] * 2)  # (region, channel, lead)
    change = np.stack([-0.02 * day, 0.02 * (day - 2.5)]) * np.array([1.0, 0.5])[:, None, None]
    difference = of_b * change
    data = {}
    for name, sign in (("rmse", 1.0), ("acc", -1.0)):
        data[f"{name}_b"] = dims, of_b
        data[f"{name}_difference"] = dims, sign * difference
        data[f"{name}_significant"] = dims, (np.abs(change) > 0.03).astype(np.int8)
    attributes = {"forecast_a": "new.nc", "forecast_b": "old.nc", "time_step": "24h"}
    xr.Dataset(data, _coordinates(), attributes).to_netcdf(path)
    return path
