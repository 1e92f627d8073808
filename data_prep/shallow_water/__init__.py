"""The shallow-water solver as a source of data.

Equations, cases, trajectories, diagnostics, generation.
May import `data_prep.store`, and `data_prep.ingest` to read an orography.
"""
