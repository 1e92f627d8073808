"""Reports: one self-contained HTML page of a run, its forecasts, scores and climate.

It may import all of `forecast` but `forecast.cli` and `forecast.interop`.
"""
