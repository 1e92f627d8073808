"""Table of the climate diagnostics.

A diagnostic is one class in a file of `diagnostics/`, with the interface of `diagnostic.py`, and
one entry here. The climate file, the report and the comparison with the truth's own variability
follow.
"""

from __future__ import annotations

from forecast.verification.climate.diagnostic import Diagnostic
from forecast.verification.climate.diagnostics.annual_cycle import AnnualCycle
from forecast.verification.climate.diagnostics.band_pass import BandPass
from forecast.verification.climate.diagnostics.blocking import Blocking
from forecast.verification.climate.diagnostics.budgets import Budgets
from forecast.verification.climate.diagnostics.day_difference import DayDifference
from forecast.verification.climate.diagnostics.degree_spectra import DegreeSpectra
from forecast.verification.climate.diagnostics.global_series import GlobalMeans
from forecast.verification.climate.diagnostics.histograms import Histograms
from forecast.verification.climate.diagnostics.moments import Moments
from forecast.verification.climate.diagnostics.wavenumber_frequency import WavenumberFrequency

DIAGNOSTICS: dict[str, type[Diagnostic]] = {
    "means and variance": Moments,
    "24-hour differences": DayDifference,
    "band-pass variance": BandPass,
    "annual cycle": AnnualCycle,
    "global means and trends": GlobalMeans,
    "spectra by degree": DegreeSpectra,
    "spectra by wavenumber and frequency": WavenumberFrequency,
    "histograms and extremes": Histograms,
    "budgets": Budgets,
    "blocking": Blocking,
}
"""Diagnostics by their names in notes, in the order of the report."""
