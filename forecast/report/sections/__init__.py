"""Sections of a report: one function each, and their table."""
