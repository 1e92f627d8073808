"""Training data from other equations: barotropic turbulence, reaction and diffusion, Darcy flow.

It may import `data_prep.store` and `data_prep.solvers`.
"""
