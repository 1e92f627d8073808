"""Other equation sets of the solver."""
