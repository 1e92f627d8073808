"""Time and memory of `forecast data ingest`."""
