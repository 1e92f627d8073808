"""Climate diagnostics of long forecasts against the truth and its own sampling variability.

May import `forecast.inference` and `data_prep.store`. A diagnostic is one file of `diagnostics/`
and one entry of the table in `table.py`.
"""
