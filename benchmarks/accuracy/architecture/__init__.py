"""Comparison of blocks, branches and learning rates on small problems."""
