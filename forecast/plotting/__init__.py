"""Pictures: maps (`projections` alone imports cartopy), profiles, ensembles, scores, animations.

May import all of `forecast` except `forecast.cli`.
"""
