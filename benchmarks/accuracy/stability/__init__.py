"""Long rollouts and what makes them hold."""
