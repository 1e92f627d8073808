"""Pictures of scores files: score cards, rank histograms and reliability diagrams.

May import what `forecast.plotting` may.
"""
