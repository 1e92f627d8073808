"""Years of the forced climate: bounds, steadiness of the spectrum, and drift of mass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.accuracy.shallow_water.figures import draw_climate, draw_series
from benchmarks.accuracy.shallow_water.run import Plan, Run
from benchmarks.speed.measure import Row
from data_prep.shallow_water.diagnostics import INTEGRALS, kinetic_energy_spectrum
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean

_MASS, _KINETIC, _WIND = 0, len(INTEGRALS), len(INTEGRALS) + 2
_EVERY = 30  # days between saves


def climate(plan: Plan) -> Iterator[Row]:
    """Return rows for three years of the forced case at T42; continue after a kill."""
    days = 60 if plan.quick else 3 * 365
    run, saved = Run("forced", 43), plan.saved.with_suffix(f".climate-{days}.npz")
    series, spectra = _followed(run, days, saved)
    mass = np.abs(series[:, _MASS] / series[0, _MASS] - 1).max()
    yield run.row(f"climate, drift of mass over {days} days", float(mass), 1e-10)
    yield run.row("climate, strongest wind, m/s", float(series[:, _WIND].max()), None)
    year = min(365, days // 3)
    before, last = slice(-2 * year, -year), slice(-year, None)
    early, late = spectra[before].mean(axis=0), spectra[last].mean(axis=0)
    change = np.abs(late[1:] / early[1:] - 1)
    yield run.row("climate, spectrum of the last year against the one before, mean |change|",
                  float(change.mean()), None)  # fmt: skip
    kinetic = series[last, _KINETIC].mean() / series[before, _KINETIC].mean() - 1
    yield run.row("climate, kinetic energy, last year against the one before",
                  float(abs(kinetic)), None)  # fmt: skip
    if plan.figures:
        draw_series(plan.figures / "shallow_water_climate_series.png", series, year)
        grid = Grid.legendre_gauss(64, 128)
        draw_climate(
            plan.figures / "shallow_water_climate.png",
            run.sampled(grid, "vorticity"),
            run.sampled(grid, "geopotential") / run.gravity,
            grid,
            {"last year": late, "year before": early},
        )
    saved.unlink()


def _followed(run: Run, days: int, saved: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Advance a run to a day, and return its diagnostics at the end of each day.

    Returns:
        Integrals, kinetic energy, that of the eddies, and the strongest wind, (day, 7); kinetic
        energy by degree, (day, lmax).
    """
    series, spectra = [], []
    if saved.exists():
        with np.load(saved) as kept:
            run.state = torch.from_numpy(kept["state"])
            series, spectra = list(kept["series"]), list(kept["spectra"])
            run.day = float(len(series))
    while len(series) < days:
        run.to(len(series) + 1)
        wind = run.solver.wind(run.state)[0]
        eddy = wind - wind.mean(dim=-1, keepdim=True)
        energies = [area_mean(w.square().sum(dim=0) / 2, run.solver.grid) for w in (wind, eddy)]
        strongest = wind.square().sum(dim=0).sqrt().max()
        series.append(np.array([*run.integrals(), *energies, strongest]))
        spectra.append(kinetic_energy_spectrum(run.solver, run.state)[0].numpy())
        if len(series) % _EVERY == 0 or len(series) == days:
            unfinished = saved.with_suffix(".partial.npz")
            np.savez(unfinished, state=run.state.numpy(), series=series, spectra=spectra)
            unfinished.replace(saved)
            print(f"day {len(series)}", flush=True)
    return np.array(series), np.array(spectra)
