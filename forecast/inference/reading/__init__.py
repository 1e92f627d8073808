"""Parts of the reader of forecast files: opening, lead times, the store that fits.

It may import `sphere_ops`, `configs`, `data_prep.store` and modules of `forecast.inference`.
"""
