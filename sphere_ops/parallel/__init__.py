"""Processes that compute together.

Mesh, partition of rows and wavenumbers, exchanges, heartbeat.
Imports nothing else of this project; the only importer of torch.distributed.
"""
