"""Spectra of forecasts of sea surface temperature in bands of degrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.verification.truth import Truth
from sphere_ops.harmonics.transforms import RealSHT, sum_orders

LEADS = (1, 3, 6, 12)
"""Lead times of all tables, months."""
BANDS = ((20, 30), (30, 45), (45, 75))
"""First and last (exclusive) degrees; from 45 on quadrature on the grid is not exact."""


def measure_bands(
    file: ForecastFile, store: Store, bands: Sequence[tuple[int, int]] = BANDS
) -> dict[str, dict[str, list[float]]]:
    """Compare the spectra of forecasts, of the truth and of the initial states.

    Args:
        file: Forecasts of every month up to the last of `LEADS`.
        store: Store with the truth; forecasts beyond its times are left out.
        bands: First degree and last degree (exclusive) of each band.

    Returns:
        By band, over `LEADS`: `power` of the forecast over that of the truth,
        `power_of_regression` of the truth on the initial state, likewise over that of the truth,
        and `coherence_with_initial`, the squared coherence of forecast and initial state.
    """
    truth, last = Truth(file, store), bands[-1][1]
    analysis = RealSHT(store.grid, lmax=last, mmax=last)
    leads = np.array([0, *LEADS])
    sums: list[Tensor] = []
    for i in range(len(file.init_time)):
        if len(truth.known(i, slice(None))) <= LEADS[-1]:
            continue
        reference = truth.reference(i, leads)
        fields = file.states(i, slice(None))[leads], truth.states(i, leads)
        f, t = (analysis(torch.from_numpy(np.nan_to_num(x - reference)))[:, 0] for x in fields)
        start, f, t = t[:1].expand_as(f[1:]), f[1:], t[1:]  # (lead, l, m)
        pairs = (f, f), (t, t), (start, start), (start, f), (start, t)
        sums.append(torch.stack([sum_orders((a.conj() * b).real) for a, b in pairs]))
    total = torch.stack(sums).double().sum(0)  # (5, lead, l)
    return {
        f"{first} to {end - 1}": _of_band(total[..., first:end].sum(-1)) for first, end in bands
    }


def _of_band(total: Tensor) -> dict[str, list[float]]:
    """Return the ratios of the sums of `measure_bands` over one band, (5, lead)."""
    forecast, truth, initial, carried, persisted = total
    return {
        "power": rounded(forecast / truth),
        "power_of_regression": rounded(persisted.square() / initial / truth),
        "coherence_with_initial": rounded(carried.square() / initial / forecast),
    }


def rounded(x: xr.DataArray | Tensor | NDArray[np.floating[Any]]) -> list[float]:
    """Return values with four decimals."""
    return [round(float(value), 4) for value in x]
