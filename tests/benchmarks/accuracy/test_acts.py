"""Counts of the steps in which a limiter acts."""

import torch

from benchmarks.accuracy.acts import Acts, ActsByDegree
from forecast.model.limiter import SpectralLimiter
from sphere_ops.grid import Grid


def test_values_that_a_limiter_changes_are_counted():
    acts, limiter = Acts(), torch.nn.ReLU()
    limiter.register_forward_hook(acts)
    for x in ([1.0, 2.0], [1.0, -2.0]):
        limiter(torch.tensor(x))
    assert acts.shares() == {"steps": 2, "of_steps": 0.5, "of_values": 0.25}


def test_steps_are_counted_at_the_degree_where_the_limiter_acts():
    grid = Grid.legendre_gauss(8, 16)
    limiter = SpectralLimiter(grid, torch.ones(1, 7), 1.5)
    acts = ActsByDegree(limiter)
    limiter.register_forward_hook(acts)
    sine = torch.sin(torch.deg2rad(grid.latitude)).float()[:, None].expand(1, 1, *grid.shape)
    for size in (0.1, 1.0, 5.0, 9.0):  # powers of degree 1 of size² / 3
        limiter(size * sine)
    assert (acts.steps, acts.acted) == (4, 2)
    assert acts.where[0].tolist() == [0, 2, 0, 0, 0, 0, 0]
