"""Forecasts of the atmosphere of the circulation model, and its climate."""
