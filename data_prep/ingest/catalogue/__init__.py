"""Catalogue of sources: fields of the channels, their coordinates, times, units and accumulation.

Imports `sources` and `regridding` of this package.
"""
