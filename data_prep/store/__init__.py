"""The training store: layout, writing, reading, statistics, climatology, export.

Imports nothing else of `data_prep`; `forecast` reads stores through it.
"""
