"""Measurements of speed and memory against the libraries that users have today."""
