"""Scores of the forecasts of a file in one pass: reading, comparison with the truth, and sums.

Imports the modules beside this package, and `ensembles`.
"""
