import pytest
import torch

from forecast.model import network as network_module
from forecast.model.network import LocalSFNO
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT

GRID = Grid.legendre_gauss(12, 24)
BRANCHES = {
    "spectral": {"lmax": 8},
    "integral": {"theta_cutoff": 0.8},
    "differential": {"order": 1},
}


def network(branches=BRANCHES, grid=GRID, **settings) -> LocalSFNO:
    torch.manual_seed(0)
    model = LocalSFNO(3, 2, grid, branches, channels=6, blocks=2, **settings).double()
    with torch.no_grad():  # an untrained decoder answers zero to everything
        model.decoder.weight.normal_()
    return model


def test_an_untrained_network_predicts_no_change():
    model = LocalSFNO(3, 2, GRID, BRANCHES, channels=6, blocks=2)
    assert torch.equal(model(torch.randn(2, 3, 12, 24)), torch.zeros(2, 2, 12, 24))


@pytest.mark.parametrize("names", [["spectral"], ["integral"], ["differential"], list(BRANCHES)])
def test_any_subset_of_branches_commutes_with_rotations_about_the_axis(names):
    model = network({name: BRANCHES[name] for name in names})
    x = torch.randn(2, 3, 12, 24, dtype=torch.float64)
    rotated = model(x.roll(5, dims=-1))
    torch.testing.assert_close(rotated, model(x).roll(5, dims=-1), rtol=1e-10, atol=1e-10)


def test_a_branch_that_is_off_does_not_exist():
    counts = network({"spectral": {"lmax": 8}}).parameter_counts()
    assert set(counts) == {"spectral", "pointwise"}
    model = network()
    assert sum(model.parameter_counts().values()) == sum(p.numel() for p in model.parameters())
    assert model.parameter_counts()["spectral"] == 2 * 6 * 6 * 8


def test_recomputed_blocks_have_the_gradients_of_kept_ones():
    x = torch.randn(2, 3, 12, 24, dtype=torch.float64)
    gradients = []
    for recompute in (False, True):
        model = network(checkpoint_blocks=recompute)
        model(x).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=1e-12, atol=1e-12)


def test_another_grid_shares_the_weights():
    model = network()
    other = model.on_grid(Grid.equiangular(25, 48))
    for (name, a), (_, b) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert a is b, name
    assert other.grid.shape == (25, 48)


def smooth(lmax: int, grid: Grid) -> torch.Tensor:
    """Return random fields with degrees below lmax, (2, 3, nlat, nlon), equal on every grid."""
    generator = torch.Generator().manual_seed(1)
    coeffs = torch.randn(2, 3, lmax, lmax, dtype=torch.complex128, generator=generator).tril()
    coeffs[..., 0].imag = 0
    return InverseRealSHT(grid, lmax=lmax, mmax=lmax)(coeffs) / lmax


def difference_on_twice_as_fine_a_grid(model: LocalSFNO, lmax: int) -> float:
    """Return the relative difference of a network's output on its grid and on a finer one."""
    grid, fine = model.grid, Grid.legendre_gauss(2 * model.grid.nlat, 2 * model.grid.nlon)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # they start at zero
                parameter.normal_(std=0.5)
        own = model(smooth(lmax, grid))
        there = model.on_grid(fine)(smooth(lmax, fine))
        back = resample(there, fine, grid)
        for block in model.blocks:
            block.conv.branches["spectral"].weight.zero_()
        without = model(smooth(lmax, grid))
    assert (own - without).norm() > 0.1 * own.norm()
    return float((back - own).norm() / own.norm())


def test_the_spectral_network_converges_as_its_grid_is_refined():
    # The functions of a gate are no polynomials: what they put into degrees that the rows do not
    # hold is aliased. It falls faster than at order ten. The cosine of latitude is no polynomial of
    # the unit vector, and its sine is rounded to float32: left out.
    differences = []
    for nlat in (12, 24):
        model = network({"spectral": {"lmax": 8}}, Grid.legendre_gauss(nlat, 2 * nlat))
        with torch.no_grad():
            for block in model.blocks:
                block.mlp.by_latitude.zero_()
        differences.append(difference_on_twice_as_fine_a_grid(model, 3))
    coarse, fine = differences
    assert coarse < 1e-4
    assert fine < coarse / 2**10


def test_blocks_on_another_grid_still_commute_with_rotations_about_the_axis():
    model = network(inner_grid=Grid.legendre_gauss(8, 12))
    x = torch.randn(2, 3, 12, 24, dtype=torch.float64)
    rotated = model(x.roll(4, dims=-1))
    torch.testing.assert_close(rotated, model(x).roll(4, dims=-1), rtol=1e-10, atol=1e-10)
    assert model.on_grid(Grid.legendre_gauss(24, 48)).blocks[0].conv.grid.shape == (16, 24)


def test_a_differential_branch_alone_cannot_change_the_grid():
    with pytest.raises(ValueError, match="name a spectral or an integral branch too"):
        network({"differential": {"order": 1}}, inner_grid=Grid.legendre_gauss(8, 16))


@pytest.mark.isa
def test_autocast_rounds_what_the_mlps_add_and_not_the_skips():
    model = network().float()
    x = torch.randn(2, 3, 12, 24)
    full = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(x)
        for block in model.blocks:
            block.mlp.register_forward_hook(lambda module, inputs, output: output * 0)
        without_mlps = model(x)
    assert half.dtype == without_mlps.dtype == torch.float32
    assert 1e-6 < (half - full).norm() / full.norm() < 5e-3
    torch.testing.assert_close(without_mlps, model(x), rtol=0, atol=0)


def test_a_coarser_grid_keeps_the_degrees_that_it_resolves():
    model = network({"spectral": {"lmax": 12}})
    coarse = model.on_grid(Grid.legendre_gauss(6, 12))
    layer, other = model.blocks[0].conv, coarse.blocks[0].conv
    assert other.branches["spectral"].weight is layer.branches["spectral"].weight
    coeffs = torch.zeros(1, 6, 6, 6, dtype=torch.complex128)
    coeffs[..., :4, :4] = torch.randn(1, 6, 4, 4, dtype=torch.complex128).tril()
    coeffs[..., 0].imag = 0
    fine_x, coarse_x = (
        InverseRealSHT(grid, lmax=6, mmax=6)(coeffs) for grid in (GRID, coarse.grid)
    )
    found = RealSHT(coarse.grid, lmax=4, mmax=4)(other(coarse_x))
    expected = RealSHT(GRID, lmax=4, mmax=4)(layer(fine_x))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_block_learns_from_all_its_weights():
    model = network()
    model(torch.randn(2, 3, *GRID.shape, dtype=torch.float64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("noise_channels", [0, 2])
def test_samples_that_are_taken_one_by_one_agree_with_all_together(noise_channels, monkeypatch):
    model = network(noise_channels=noise_channels)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(5, 3, *GRID.shape, dtype=torch.float64)
    noise = torch.randn(5, 2, *GRID.shape, dtype=torch.float64) if noise_channels else None
    expected = model(x, noise).detach()  # with gradients, all together
    for samples in (1, 2, 9):
        each = samples * 6 * GRID.nlat * GRID.nlon // torch.get_num_threads()
        monkeypatch.setattr(network_module, "_TOGETHER", each)
        with torch.no_grad():
            torch.testing.assert_close(model(x, noise), expected, rtol=1e-10, atol=1e-10)
