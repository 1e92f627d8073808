"""Matrix products on zonal wavenumbers.

Layout, Legendre and banded products, plan, and the custom operation.
May import `sphere_ops.kernels` and what that imports.
"""
