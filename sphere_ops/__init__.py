"""Operators on the sphere: grids, transforms and the three branches; torch only."""
