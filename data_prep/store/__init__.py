"""Training store: layout, writing, reading, statistics, climatology, export.

It imports no other sub-package of `data_prep`. `forecast` reads stores through it.
"""
