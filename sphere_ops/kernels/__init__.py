"""Kernels of the branches.

Legendre functions, DISCO filters, derivative stencils, and their symbols per wavenumber.
May import `sphere_ops.grid` and `sphere_ops.parallel`.
"""
