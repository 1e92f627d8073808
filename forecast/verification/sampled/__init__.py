"""Spectra, coherence and conserved quantities of some of the forecasts of a file.

Imports `forecast.verification.truth`.
"""
