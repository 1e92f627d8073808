"""Spherical harmonic transforms, vector calculus, power spectra, and smooth fill.

May import `sphere_ops.engine` and what that imports.
"""
