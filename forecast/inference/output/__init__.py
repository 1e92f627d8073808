"""Contents of a forecast file: derived fields, selection, period statistics, other layouts.

May import `forecast.model`.
"""
