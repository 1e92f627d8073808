"""Linear theory of the solver's benchmark, against older theory and the solver."""

import numpy as np
import pytest
import torch

from benchmarks.accuracy.shallow_water.theory import divergent_wave, haurwitz_speed
from data_prep.shallow_water.cases import Experiment
from data_prep.shallow_water.equations import VORTICITY
from data_prep.shallow_water.planet import Planet

RATE = 7.848e-6
DAY = 86400.0


def test_a_wave_in_a_deep_layer_travels_as_haurwitz_says() -> None:
    """Compare at a parameter 4Ω²a²/(gh) of 1e-6, the limit of a deep layer."""
    for wavenumber in (1, 4, 7):
        deep, _ = divergent_wave(Planet(), RATE, wavenumber, polar_depth=1e11)
        assert deep == pytest.approx(haurwitz_speed(Planet(), RATE, wavenumber), rel=1e-5)


@pytest.mark.parametrize("wavenumber", [1, 4])
def test_weak_waves_on_solid_rotation_travel_as_theory_says(wavenumber: int) -> None:
    """Check that a mode of the theory keeps its shape in the solver and rotates at its speed."""
    lmax, height = 32, 8000.0
    experiment = Experiment("williamson6", {"wave_rate": 0.0, "mean_height": height}, lmax)
    solver, carrier = experiment.solver, experiment.initial_state(0)[None]
    speed, mode = divergent_wave(Planet(), RATE, wavenumber, height, n=lmax - wavenumber)
    weak = torch.from_numpy(mode * (1e-9 / np.abs(mode[VORTICITY]).max()))
    state = carrier.clone()
    state[0, :, wavenumber:, wavenumber] = weak
    end = solver.advance(state, 0.0, DAY, 96)
    expected = weak * np.exp(-1j * wavenumber * speed * DAY)
    error = (end[0, :, wavenumber:, wavenumber] - expected).abs().amax(dim=-1)
    assert (error / weak.abs().amax(dim=-1)).max() < 1e-5
