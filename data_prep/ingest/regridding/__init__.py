"""Grids of files, regridding by three methods, levels between levels, winds and their derivatives.

Imports nothing else of `data_prep`.
"""
