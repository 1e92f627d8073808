"""Observed sea surface temperature: the preset `sst` against linear forecasts."""
