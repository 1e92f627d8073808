"""Parts of a store: choice of channels and times, reading of their fields, their statistics."""
