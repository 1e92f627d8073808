"""Trained models and forecasts in other tools: earth2studio, GRIB.

It may import `forecast.model` and `forecast.inference`.
"""
