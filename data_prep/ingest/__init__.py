"""Gridded files as a source of data: readers, coordinates, units, times, regridding.

May import `data_prep.store`.
"""
