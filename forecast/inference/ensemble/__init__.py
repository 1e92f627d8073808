"""Ensembles: perturbed initial states of the members, their seeds and their models.

It imports the modules of `forecast.inference` that read states, and `forecast.model`.
"""
