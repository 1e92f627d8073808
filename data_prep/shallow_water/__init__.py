"""Training data from a shallow-water solver.

It may import `data_prep.store`, and `data_prep.ingest` to read an orography.
"""
