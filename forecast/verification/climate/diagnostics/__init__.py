"""Climate diagnostics, one file each; `table.py` beside this folder lists them.

May import `forecast.verification.climate` (not its table) and `forecast.verification.metrics`.
"""
