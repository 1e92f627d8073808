"""Parts of the writer of forecast files: formats, blocks, background thread, unfinished files.

It may import `sphere_ops`, `configs`, `data_prep.store` and modules of `forecast.inference`.
"""
