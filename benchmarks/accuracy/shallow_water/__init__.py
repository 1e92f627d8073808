"""The shallow-water solver on standard tests."""
