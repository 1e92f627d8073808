"""Training data from a circulation model, which runs in a process and environment of its own."""
