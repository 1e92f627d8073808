"""Scaling over processes, and what they exchange."""
