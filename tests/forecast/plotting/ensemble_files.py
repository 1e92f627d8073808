"""Forecast files with members, made from single forecasts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray as xr

from forecast.inference.reader import ForecastFile
from sphere_ops.harmonics.random_fields import GaussianField


def with_members(
    path: Path, out: Path, n: int, growth: float = 0.15, at_start: float = 0.0
) -> Path:
    """Write an ensemble: a forecast plus smooth noise that grows with lead time.

    Args:
        path: Forecast file without members.
        out: File to write, `.nc`.
        n: Number of members; the numbers begin with 1.
        growth: Standard deviation of the noise after one step, in that of the field.
        at_start: The same of the initial state.
    """
    file = ForecastFile(path)
    draw = GaussianField(file.grid, 0.5)
    data = xr.open_dataset(path, decode_times=False)
    for c, name in enumerate(file.channel_names):
        field = data[name]
        size = float(field.isel(lead_time=0).std()) * growth
        members = []
        for m in range(n):
            with torch.no_grad():
                noise = draw([(0, m, c, i) for i in range(field.shape[0])]).numpy()
            later = draw([(1, m, c, i) for i in range(field.shape[0])]).detach().numpy()
            grown = np.sqrt(file.steps)[:, None, None] * noise[:, None]
            grown = grown + at_start / growth * (file.steps == 0)[:, None, None] * noise[:, None]
            grown = grown + 0.3 * file.steps[:, None, None] * later[:, None]
            members.append(field + (size * grown).astype(np.float32))
        stacked = xr.concat(members, "member").transpose(field.dims[0], "member", ...)
        data[name] = stacked.assign_attrs(field.attrs)
    data = data.assign_coords(member=("member", np.arange(1, n + 1, dtype=np.int32)))
    data.member.attrs = {"standard_name": "realization", "long_name": "Ensemble member"}
    for name in data.coords:
        data[name].encoding = {"_FillValue": None}
    data.to_netcdf(out)
    return out
