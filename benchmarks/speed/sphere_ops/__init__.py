"""Times of the operators against torch-harmonics."""
