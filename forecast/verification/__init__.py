"""Verification: score table, baselines, evaluation, report.

May import `forecast.inference` and `forecast.model`.
"""
