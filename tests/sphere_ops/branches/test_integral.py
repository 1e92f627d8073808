"""Integral branch: torch-harmonics' DISCO for all its settings, and a kernel on a disc."""

import math

import pytest
import torch
import torch_harmonics as th

from sphere_ops.branches.integral import IntegralConv
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import integral_filters
from tests.sphere_ops import reference
from tests.sphere_ops.exact import KINDS, harmonic, on_grid, random_coeffs

BASES = {
    "piecewise linear": (3, 3),
    "harmonic": (3, 3),
    "zernike": (3,),
    "fourier-bessel": (2, 2),
}
MODES = ("nodal", "modal", "mean", "support", "geometric", "none")
PEER_KINDS = ("legendre-gauss", "equiangular")  # torch-harmonics has no cell-centred grid


def both(
    grid: Grid, grid_out: Grid, dtype: torch.dtype = torch.float64, channels: int = 3, **settings
) -> tuple[IntegralConv, th.DiscreteContinuousConvS2]:
    """Return our layer and that of torch-harmonics, with the same weights."""
    ours = IntegralConv(channels, 2, grid, grid_out=grid_out, **settings).to(dtype)
    settings["basis_norm_mode"] = settings.pop("normalization", "nodal")
    settings.setdefault("kernel_shape", (3, 3))
    theirs = th.DiscreteContinuousConvS2(
        channels,
        2,
        grid.shape,
        grid_out.shape,
        grid_in=grid.kind,
        grid_out=grid_out.kind,
        bias=False,
        **settings,
    ).to(dtype)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
    return ours, theirs


def assert_same(ours: torch.nn.Module, theirs: torch.nn.Module, x: torch.Tensor, tolerance: float):
    x = x.requires_grad_()
    found, expected = ours(x), theirs(x)
    direction = torch.randn_like(expected)
    pairs = [(found.detach(), expected.detach())]
    gradients = (
        torch.autograd.grad((y * direction).sum(), [x, layer.weight])
        for y, layer in ((found, ours), (expected, theirs))
    )
    for a, b in (*pairs, *zip(*gradients, strict=True)):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * float(b.abs().max()))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("basis", BASES)
def test_every_basis_and_normalisation_is_that_of_torch_harmonics(basis, mode):
    grid = Grid.legendre_gauss(12, 24)
    ours, theirs = both(
        grid,
        grid,
        theta_cutoff=0.6,
        kernel_shape=BASES[basis],
        basis_type=basis,
        normalization=mode,
    )
    x = torch.randn(2, 3, *grid.shape, dtype=torch.float64)
    assert_same(ours, theirs, x, 1e-10)


@pytest.mark.parametrize("kind", PEER_KINDS)
@pytest.mark.parametrize(("nlat", "nlon"), [(13, 24), (16, 20), (9, 17), (12, 48)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_any_grid_of_torch_harmonics(kind, nlat, nlon, dtype, tolerance):
    grid = Grid.of(kind, nlat, nlon)
    ours, theirs = both(grid, grid, dtype, theta_cutoff=3 * math.pi / nlat)
    assert_same(ours, theirs, torch.randn(2, 3, *grid.shape, dtype=dtype), tolerance)


@pytest.mark.parametrize("kernel_shape", [(1, 1), (2, 1), (3, 1), (2, 4), (4, 3), (5,), (3, 2)])
def test_kernel_shapes_of_odd_and_even_numbers(kernel_shape):
    grid = Grid.equiangular(12, 24)
    ours, theirs = both(grid, grid, theta_cutoff=0.9, kernel_shape=kernel_shape)
    assert_same(ours, theirs, torch.randn(1, 3, *grid.shape, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize("cutoff", [0.05, 0.3, 1.5, 3.1])
def test_discs_from_one_point_to_the_whole_sphere(cutoff):
    grid = Grid.legendre_gauss(10, 20)
    ours, theirs = both(grid, grid, theta_cutoff=cutoff)
    assert_same(ours, theirs, torch.randn(1, 3, *grid.shape, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize("kind_out", PEER_KINDS)
@pytest.mark.parametrize(("shape", "shape_out"), [((16, 32), (8, 16)), ((18, 36), (7, 12))])
def test_down_sampling_of_what_the_coarser_grid_holds(kind_out, shape, shape_out):
    """Use input without higher wavenumbers: torch-harmonics folds them, our layer drops them."""
    grid, grid_out = Grid.legendre_gauss(*shape), Grid.of(kind_out, *shape_out)
    held = (shape_out[1] + 1) // 2  # the orders below the coarser grid's Nyquist order
    x = on_grid(random_coeffs(2, 3, 10, held), grid)
    ours, theirs = both(grid, grid_out, theta_cutoff=0.7)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-10)
    # Weight gradients see the output's direction, of which theirs keeps the folded part too.
    direction = on_grid(random_coeffs(2, 2, 5, 5, seed=1), grid_out)
    gradients = [
        torch.autograd.grad((layer(x) * direction).sum(), layer.weight)[0]
        for layer in (ours, theirs)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10 * float(gradients[1].abs().max()))


def test_the_filters_are_the_basis_at_distance_and_bearing_of_the_points():
    """Compare with a geometry by unit vectors, whose distances are exact where points coincide.

    The tolerance is 1e-7: as in torch-harmonics, filters use an arc cosine for distances, which is
    off by up to 2e-8 at distance 0.
    """
    from torch_harmonics.filter_basis import get_filter_basis

    def point(theta: torch.Tensor, longitude: torch.Tensor) -> torch.Tensor:
        sin = torch.sin(theta)
        columns = (sin * torch.cos(longitude), sin * torch.sin(longitude), torch.cos(theta))
        return torch.stack(torch.broadcast_tensors(*columns), dim=-1)

    for kind in KINDS:
        grid, grid_out = Grid.of(kind, 9, 14), Grid.legendre_gauss(6, 14)
        found = reference.dense(
            integral_filters(grid, grid_out, 0.8, (3, 3), "piecewise linear"), grid
        )
        basis = get_filter_basis(kernel_shape=(3, 3), basis_type="piecewise linear")
        points = point(grid.colatitude[:, None], torch.deg2rad(grid.longitude))
        zero = torch.zeros((), dtype=torch.float64)
        for i, theta in enumerate(grid_out.colatitude):
            out = points @ point(theta, zero)
            south = points @ point(theta + math.pi / 2, zero)
            east = points[..., 1]
            distance = torch.atan2(torch.hypot(south, east), out)
            bearing = torch.atan2(east, south) % (2 * math.pi)
            index, values = basis.compute_support_vals(distance, bearing, r_cutoff=0.8008)
            expected = torch.zeros(found[:, i].shape, dtype=torch.float64)
            expected[index.unbind(1)] = values
            expected *= grid.area_weights
            expected /= expected.abs().sum(dim=(1, 2), keepdim=True)
            torch.testing.assert_close(found[:, i], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_ends_at_the_cutoff(kind):
    grid = Grid.of(kind, 24, 48)
    layer = IntegralConv(1, 1, grid, theta_cutoff=0.4).double()
    x = torch.zeros(1, 1, *grid.shape, dtype=torch.float64)
    x[..., 5, 10] = 1
    theta, longitude = grid.colatitude[:, None], torch.deg2rad(grid.longitude)
    cosine = torch.cos(theta) * torch.cos(theta[5]) + torch.sin(theta) * torch.sin(
        theta[5]
    ) * torch.cos(longitude - longitude[10])
    far = torch.arccos(cosine.clamp(-1, 1)) > 0.4 * 1.002
    y = layer(x)[0, 0]
    assert y[far].abs().max() < 1e-14 and y[~far].abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_an_isotropic_kernel_multiplies_harmonics_of_one_degree_by_one_number(kind):
    """Check the Funk-Hecke theorem, up to the error of the quadrature."""
    grid = Grid.of(kind, 48, 96)
    layer = IntegralConv(1, 1, grid, theta_cutoff=0.5, kernel_shape=(3, 1), normalization="support")
    fields = torch.stack([harmonic(grid, 5, m) for m in range(6)])[:, None]
    ratio = (layer.double()(fields) * fields).sum((1, 2, 3)) / fields.square().sum((1, 2, 3))
    torch.testing.assert_close(ratio, ratio[:1].expand(6), rtol=0.02, atol=0)
    remainder = layer(fields) - ratio[:, None, None, None] * fields
    # Largest on the pole rows of the equiangular grid, where only rows resolve the kernel.
    assert remainder.abs().max() < 0.05 * layer(fields).abs().max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"theta_cutoff": 0.0}, r"theta_cutoff 0.0; expected an angle in \(0, π\]"),
        ({"theta_cutoff": 3.2}, r"theta_cutoff 3.2; expected an angle in \(0, π\]"),
        ({"theta_cutoff": math.nan}, "theta_cutoff nan; expected an angle"),
        ({"basis_type": "wavelet"}, "'wavelet'; expected one of piecewise linear, harmonic, zern"),
        ({"normalization": "individual"}, "'individual'; expected one of nodal, modal, mean"),
        ({"kernel_shape": (3, 3, 3)}, r"kernel_shape \(3, 3, 3\).*piecewise linear"),
        ({"kernel_shape": (0, 3)}, r"kernel_shape \(0, 3\).*1 or more"),
        ({"kernel_shape": "3x3"}, "kernel_shape '3x3'.*whole numbers"),
        ({"kernel_shape": 2.5}, "kernel_shape 2.5 .*whole numbers"),
        ({"basis_type": "zernike"}, r"kernel_shape \(3, 3\) of the zernike.*expected 1 whole"),
        ({"basis_type": "harmonic", "kernel_shape": 3}, "kernel_shape 3 of the harmonic.*2 whole"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        IntegralConv(1, 1, Grid.equiangular(16, 32), **{"theta_cutoff": 0.5, **settings})
    assert "\n" not in str(caught.value)


def test_the_kernel_shape_of_an_isotropic_basis_is_one_number():
    grid = Grid.equiangular(12, 24)
    torch.manual_seed(0)
    one = IntegralConv(2, 3, grid, theta_cutoff=0.5, kernel_shape=3)
    torch.manual_seed(0)
    tuple_of_one = IntegralConv(2, 3, grid, theta_cutoff=0.5, kernel_shape=(3,))
    x = torch.randn(1, 2, *grid.shape)
    torch.testing.assert_close(one(x), tuple_of_one(x), rtol=0, atol=0)
