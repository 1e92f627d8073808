"""Layers: the spectral, integral and differential branch, and the block that runs them together.

May import `sphere_ops.engine` and what that imports.
"""
