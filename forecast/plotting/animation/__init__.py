"""Animations of forecasts: their frames, and the files that hold them.

May import what `forecast.plotting` may.
"""
