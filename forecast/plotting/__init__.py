"""Pictures: maps (the only importer of cartopy), skill curves, spectra, training curves.

May import all of `forecast` except `forecast.cli`.
"""
