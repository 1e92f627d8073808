"""Commands that draw forecasts, scores and climates: one file per group of pictures."""
