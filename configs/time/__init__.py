"""Time steps and calendars. It imports nothing outside itself."""
