import math

import pytest
import torch

from forecast.training.losses import Loss, SpectralError, channel_weights
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT
from tests.forecast.small_run import config

GRID = Grid.legendre_gauss(12, 24)
ONES = torch.ones(2)


def harmonic(l: int, m: int) -> torch.Tensor:
    """Return a real harmonic of squared norm 1 on the unit sphere for m = 0, and 2 otherwise."""
    coeffs = torch.zeros(12, 12, dtype=torch.complex64)
    coeffs[l, m] = 1
    return InverseRealSHT(GRID, lmax=12, mmax=12)(coeffs)


@pytest.mark.parametrize("name", ["relative-l2", "relative-l1", "relative-h1"])
def test_relative_error_of_a_multiple_is_its_distance_from_one(name):
    target = torch.randn(3, 2, 12, 24, generator=torch.manual_seed(0))
    loss = Loss(name, GRID, ONES)
    assert loss(1.3 * target, target).item() == pytest.approx(0.3, rel=1e-4)
    assert loss(target, target).item() < 1e-5


def test_relative_l2_of_orthogonal_harmonics_is_the_ratio_of_their_norms():
    target = harmonic(3, 0)[None, None]
    prediction = target + 0.5 * harmonic(7, 0)
    loss = Loss("relative-l2", GRID, torch.ones(1))
    assert loss(prediction, target).item() == pytest.approx(0.5, rel=1e-5)


def test_relative_h1_weighs_degrees_by_the_laplacian():
    target = harmonic(3, 2)[None, None]
    prediction = target + 0.5 * harmonic(7, 4)
    loss = Loss("relative-h1", GRID, torch.ones(1))
    expected = 0.5 * math.sqrt((1 + 7 * 8) / (1 + 3 * 4))
    assert loss(prediction, target).item() == pytest.approx(expected, rel=1e-5)


def test_mse_is_the_area_mean_of_the_squared_error():
    target = torch.zeros(1, 1, 12, 24)
    prediction = harmonic(5, 0)[None, None]
    loss = Loss("mse", GRID, torch.ones(1))
    assert loss(prediction, target).item() == pytest.approx(1 / (4 * math.pi), rel=1e-5)


def test_points_outside_the_mask_do_not_count():
    mask = torch.ones(2, 12, 24, dtype=torch.bool)
    mask[0, 3:6, 4:9] = False
    target = torch.randn(2, 2, 12, 24, generator=torch.manual_seed(1))
    prediction = target * 1.1
    for name in ("relative-l2", "relative-l1", "mse", "relative-h1"):
        loss = Loss(name, GRID, ONES, mask)
        before = loss(prediction, target)
        spoiled = prediction.where(mask, 77.0)
        elsewhere = target.where(mask, -3.0)
        torch.testing.assert_close(loss(spoiled, elsewhere), before, rtol=1e-6, atol=0)


def test_channel_weights_are_relative():
    target = torch.randn(1, 2, 12, 24, generator=torch.manual_seed(2))
    prediction = target * torch.tensor([1.1, 1.5])[:, None, None]
    weights = channel_weights(("z", "t"), {"t": 3.0})
    loss = Loss("relative-l2", GRID, weights)
    assert loss(prediction, target).item() == pytest.approx((0.1 + 3 * 0.5) / 4, rel=1e-4)


def test_a_weight_for_an_unknown_channel_is_refused():
    with pytest.raises(ValueError, match="names 'q'; the channels are z, t"):
        channel_weights(("z", "t"), {"q": 1.0})


def test_gradient_at_a_perfect_prediction_is_finite():
    target = torch.randn(1, 2, 12, 24, generator=torch.manual_seed(3))
    for name in ("relative-l2", "relative-l1", "mse", "relative-h1"):
        prediction = target.clone().requires_grad_()
        Loss(name, GRID, ONES)(prediction, target).backward()
        assert torch.isfinite(prediction.grad).all()


def test_spectral_error_weighs_all_degrees_alike():
    reference = torch.zeros(2, 9)
    reference[:, 1:] = torch.tensor([1.0, 1e-6])[:, None]  # of a large and of a small channel
    error = SpectralError(GRID, ONES, reference)
    target = torch.randn(1, 2, 12, 24, generator=torch.manual_seed(4))
    for l in (2, 7):
        wrong = 0.3 * harmonic(l, 0) * torch.tensor([1.0, 1e-3])[:, None, None]
        # The power of one degree, as a mean over the sphere, over that of the eight that count.
        expected = math.sqrt(0.3**2 / (4 * math.pi) / 8)
        assert error(target + wrong, target).item() == pytest.approx(expected, rel=1e-3)


def test_spectral_error_leaves_out_degrees_without_reference():
    error = SpectralError(GRID, ONES, torch.tensor([[0.0, 1.0, 0.0, 1.0]]).expand(2, -1))
    target = torch.randn(1, 2, 12, 24, generator=torch.manual_seed(5))
    for l in (0, 2, 6):
        assert error(target + harmonic(l, 0), target).item() < 1e-4
    assert error(target + harmonic(3, 0), target).item() > 0.1


def test_gradient_of_the_spectral_error_at_a_perfect_prediction_is_finite():
    target = torch.randn(1, 2, 12, 24, generator=torch.manual_seed(6))
    prediction = target.clone().requires_grad_()
    SpectralError(GRID, ONES, torch.ones(2, 9))(prediction, target).backward()
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({}, {}),
        (
            {"persistence": "damped", "noise": {"length_scales": ["3000km"]}},
            {"loss": "crps", "members": 2},
        ),
    ],
)
def test_a_spectral_loss_is_refused_without_damped_persistence_or_with_the_crps(model, training):
    with pytest.raises(ValueError, match="training.spectral_loss is 0.1, with"):
        config(model, spectral_loss=0.1, **training)
