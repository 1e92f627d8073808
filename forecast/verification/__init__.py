"""Verification: scores, baselines, evaluation, report.

May import `forecast.inference` and `forecast.model`.
"""
