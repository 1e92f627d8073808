"""Spherical harmonic transforms of scalars and vectors, vector calculus, power spectra.

May import `sphere_ops.engine` and what that imports.
"""
