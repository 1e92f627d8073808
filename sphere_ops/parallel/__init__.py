"""Parallel computation in a mesh of processes.

Mesh, partition of rows and wavenumbers, exchanges, heartbeat.
Imports only `sphere_ops.grid` of this project; the only importer of torch.distributed.
"""
