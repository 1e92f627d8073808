"""Errors of the solver and of the models."""
