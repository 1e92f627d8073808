"""Training data from gridded files: sources, coordinates, units, times, regridding.

It may import `data_prep.store`.
"""
