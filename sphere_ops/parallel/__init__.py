"""Parallel computation in a mesh of processes, or on a cluster.

Mesh, partition of rows and wavenumbers, exchanges, heartbeat; workers of a dask cluster.
Imports only `sphere_ops.grid` of this project; the only importer of torch.distributed and of dask.
"""
