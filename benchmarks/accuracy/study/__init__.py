"""Experiments of the shallow-water solver with references, controls and trained peers."""
