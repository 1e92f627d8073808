"""Scores with values of each start that are drawn from a known distribution."""

from __future__ import annotations

import numpy as np
import xarray as xr


def made_scores(
    n: int = 40,
    *,
    phi: float = 0.0,
    seed: int = 0,
    factor: float = 1.0,
    own_seed: int = 1,
    first: int = 0,
    regions: tuple[str, ...] = ("global", "tropics"),
    channels: tuple[str, ...] = ("z500", "t850"),
    leads: tuple[int, ...] = (6, 12, 24),
) -> xr.Dataset:
    """Return scores of a model and of persistence, whose mean square errors are 1 and 1.23.

    Args:
        n: Number of starts, a day apart.
        phi: Autocorrelation of the errors from start to start.
        seed: Seed of the part of the errors that all forecasts share.
        factor: Factor of the model's mean square errors.
        own_seed: Seed of the model's own part of the errors, which is small.
        first: Day of the first start.
        regions: Names of the regions.
        channels: Names of the channels.
        leads: Lead times, h.
    """
    shape = (len(regions), len(channels), len(leads))
    shared = _autoregressive(np.random.default_rng(seed), n + first, shape, phi)[first:]
    own = _autoregressive(np.random.default_rng([own_seed, 1]), n + first, shape, phi)[first:]
    of_model = factor * np.exp(0.3 * shared + 0.03 * own - 0.045)
    of_persistence = np.exp(0.3 * shared - 0.045) / 0.9**2
    each = np.stack([of_model, of_persistence], axis=1).astype(np.float32)
    dims = ("forecast", "region", "channel", "lead_time")
    scores = xr.Dataset(
        {
            "rmse_each": (("init_time", *dims), each),
            "mae_each": (("init_time", *dims), np.sqrt(each)),
            "acc_each": (("init_time", *dims), 1 - 0.1 * each),
        },
        coords={
            "init_time": np.datetime64("2020-01-01", "ns")
            + np.arange(first, first + n) * np.timedelta64(1, "D"),
            "forecast": ["model", "persistence"],
            "region": list(regions),
            "channel": list(channels),
            "channel_units": ("channel", ["m"] * len(channels)),
            "lead_time": np.array(leads, dtype="timedelta64[h]").astype("timedelta64[ns]"),
        },
        attrs={"time_step": "6h", "conventions_of_scores": "default", "title": "Made"},
    )  # fmt: skip
    for name in ("rmse", "mae", "acc"):
        mean = scores[f"{name}_each"].mean("init_time").astype(np.float64)
        scores[name] = np.sqrt(mean) if name == "rmse" else mean
        scores[name].attrs["long_name"] = name.upper()
    skill = 1 - scores.rmse.isel(forecast=[0]).values / scores.rmse.isel(forecast=[1]).values
    scores["skill"] = ("baseline", *dims[1:]), skill, {"long_name": "Skill"}
    return scores.assign_coords(baseline=["persistence"])


def _autoregressive(
    rng: np.random.Generator, n: int, shape: tuple[int, ...], phi: float
) -> np.ndarray:
    """Return n values of unit variance with a given autocorrelation, (n, *shape)."""
    x = np.empty((n, *shape))
    x[0] = rng.normal(size=shape)
    for i in range(1, n):
        x[i] = phi * x[i - 1] + np.sqrt(1 - phi**2) * rng.normal(size=shape)
    return x
