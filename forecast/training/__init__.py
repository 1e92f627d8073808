"""Training: loop, trainer, losses, optimiser, batches, run folder.

May import `forecast.inference` and `forecast.model`.
"""
