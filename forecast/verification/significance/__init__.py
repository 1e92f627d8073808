"""Intervals of scores, and the comparison of two forecasts.

May import the modules of `forecast.verification`, `forecast.inference` and `forecast.model`.
"""

from forecast.verification.significance.discovery import discoveries
from forecast.verification.significance.resampling import Intervals, bootstrap

__all__ = ["Intervals", "bootstrap", "discoveries"]
