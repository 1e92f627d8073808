"""Training data from gridded files: readers, coordinates, units, times, regridding.

It may import `data_prep.store`.
"""
