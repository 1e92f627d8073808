"""Forecasts: rollout, initial states, forecast files.

May import `forecast.model`.
"""
