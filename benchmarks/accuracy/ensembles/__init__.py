"""Models with noise against perturbed starts."""
