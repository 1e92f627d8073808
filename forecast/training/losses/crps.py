"""Almost fair CRPS of the members of an ensemble, at points and in spherical harmonics."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT, sum_orders
from sphere_ops.parallel.fields import own_rows, own_shape
from sphere_ops.parallel.mesh import current

_SMALLEST = 1e-6
"""Share of the sphere below which a target counts as missing, and size of a zero target."""
_SMALLEST_DEGREE = 1e-6
"""Mean square of the coefficients of a degree, over that of all, below which it is not resolved."""


def almost_fair_crps(ensemble: Tensor, target: Tensor, alpha: float = 0.95) -> Tensor:
    """Return the almost fair continuous ranked probability score.

    (1/M) Σ_j |x_j − y| − (1 − ε)/(2M(M−1)) Σ_j≠k |x_j − x_k| with ε = (1 − α)/M, from AIFS-CRPS
    (Lang et al., arXiv 2412.15832). α = 1 is the fair score, whose expected value does not depend
    on M; α = 0 is the score of the empirical distribution. The fair score alone leaves the
    position of a member free if all others equal the target.

    Args:
        ensemble: Members, (b, M, ...) with M of at least 2.
        target: Truth, (b, ...).
        alpha: Weight α of the fair score, 0 to 1.

    Returns:
        Score of each value, (b, ...), in the unit of the input.
    """
    m = ensemble.shape[1]
    error = (ensemble - target[:, None]).abs().sum(1)
    # The pairs (j, j + n) of all j; n and M − n give the same pairs.
    spread = torch.zeros_like(error)
    for n in range(1, m // 2 + 1):
        pairs = (ensemble - ensemble.roll(n, dims=1)).abs().sum(1)
        spread = spread + (pairs if 2 * n == m else 2 * pairs)
    fair = 1 - (1 - alpha) / m
    return error / m - fair * spread / (2 * m * (m - 1))


class EnsembleLoss(nn.Module):
    """Almost fair CRPS, its mean over the sphere, the batch and the weighted channels.

    Fields are normalised by the standard deviation of one-step differences, as in AIFS-CRPS and
    FourCastNet 3: a slow channel, whose errors are small parts of its variability, counts as much
    as a fast one.

    The spectral part is the same score of the real coefficients of the fields in orthonormal
    spherical harmonics: its mean over a degree in units of the root mean square of the target's
    coefficients of that degree, averaged over the degrees, times the root mean square of the
    target. All degrees count alike, also those of little power, whose errors the pointwise score
    hardly sees; for fields of white noise both scores are about equal. FourCastNet 3 (arXiv
    2507.12144) adds a score of coefficients, too.
    """

    area: Tensor
    weights: Tensor
    moving: Tensor | None

    def __init__(
        self,
        members: int,
        grid: Grid,
        channel_weights: Tensor,
        step_scale: Tensor,
        mask: Tensor | None = None,
        moving: Tensor | None = None,
        *,
        alpha: float = 0.95,
        spectral: float = 0.0,
    ) -> None:
        """Prepare the weights.

        Args:
            members: Number of members, at least 2.
            grid: Grid of the fields.
            channel_weights: Relative importance of the channels, (c,).
            step_scale: Standard deviation of one-step differences in the unit of the fields, (c,).
            mask: Points that have values, bool (c, nlat, nlon); in a mesh own rows.
            moving: Channels whose targets are missing (NaN) at points inside the mask that change,
                bool (c, 1, 1); None if there are none.
            alpha: Weight of the fair score; see `almost_fair_crps`.
            spectral: Weight of the spectral part relative to that of the pointwise part.
        """
        super().__init__()
        self.members, self.alpha, self.spectral = members, alpha, spectral
        area = grid.area_weights[own_rows(grid)].expand(own_shape(grid))[None]  # (1, h, w)
        if mask is not None:
            area = area * mask.to(area)
            area = area / current().sum_rows(area.sum((-2, -1), keepdim=True))
        self.register_buffer("area", area.float(), persistent=False)
        weights = channel_weights / channel_weights.sum() / step_scale
        self.register_buffer("weights", weights.float(), persistent=False)
        self.register_buffer("moving", moving, persistent=False)
        if spectral:
            self.sht = RealSHT(grid, lmax=grid.exact_lmax, mmax=grid.exact_lmax)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar; in a mesh of the whole fields, on every process.

        Args:
            prediction: Members, one after the other for each sample, (b · members, c, nlat, nlon),
                normalised; outside the mask anything finite; in a mesh own rows.
            target: (b, c, nlat, nlon), likewise.
        """
        ensemble, target, area = self._compared(prediction, target)
        score = almost_fair_crps(ensemble, target, self.alpha)
        per_channel = current().sum_rows((area * score).sum((-2, -1)))  # (b, c)
        if self.spectral:
            per_channel = per_channel + self.spectral * self._in_degrees(ensemble, target)
        return self._mean(per_channel)

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean absolute error of members that have a target each, in the same units.

        Args:
            prediction: Members, (b · members, c, nlat, nlon), see `forward`.
            target: Their targets, likewise, with values everywhere.
        """
        error = (prediction - target).to(self.area.dtype).abs()
        return self._mean(current().sum_rows((self.area * error).sum((-2, -1))))

    def _mean(self, per_channel: Tensor) -> Tensor:
        """Mean over the batch and the weighted channels of scores (b, c)."""
        return (per_channel * self.weights).sum(-1).mean()

    def moments(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the area means of ensemble variance and squared error of the mean, both (b, c).

        Their ratio times (M + 1)/M is 1 on average if truth and members are exchangeable (Fortin
        et al. 2014, doi:10.1175/JHM-D-14-0008.1).

        Args:
            prediction: See `forward`.
            target: See `forward`.
        """
        ensemble, target, area = self._compared(prediction, target)
        variance, mean = torch.var_mean(ensemble, dim=1)
        both = torch.stack([variance, (mean - target).square()])
        variance, error = current().sum_rows((area * both).sum((-2, -1)))
        return variance, error

    def _compared(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ensemble (b, m, c, h, w) and target with 0 where missing, and area weights."""
        area = self.area
        prediction, target = prediction.to(area.dtype), target.to(area.dtype)
        ensemble = prediction.unflatten(0, (-1, self.members))
        if self.moving is not None:
            present = ~(target.isnan() & self.moving)
            ensemble = ensemble.where(present[:, None], 0.0)
            target = target.where(present, 0.0)
            area = area * present
            share = current().sum_rows(area.sum((-2, -1), keepdim=True))
            area = area / share.clamp(min=_SMALLEST)
        return ensemble, target, area

    def _in_degrees(self, ensemble: Tensor, target: Tensor) -> Tensor:
        """Spectral part of the score, (b, c)."""
        inside = self.area > 0
        truth, members = self.sht(target * inside), self.sht(ensemble * inside)  # (b, [m,] c, l, m)
        degrees = torch.arange(self.sht.lmax, device=truth.device)
        values = 2 * degrees + 1
        power = sum_orders(truth.abs().square())  # (b, c, l), sums of squares of real coefficients
        mean = power.sum(-1, keepdim=True) / values.sum()
        size = (power / values).clamp(min=_SMALLEST_DEGREE * mean).clamp(min=_SMALLEST**2).sqrt()
        score = almost_fair_crps(torch.view_as_real(members), torch.view_as_real(truth), self.alpha)
        # A coefficient of an order beyond 0 stands for two real ones, each √2 times as large.
        order = self.sht.orders.index.to(score.device)
        score = score.sum(-1) * torch.where(order > 0, math.sqrt(2), 1.0)
        score = current().sum_rows(score.sum(-1))  # (b, c, l)
        rms = (power.sum(-1) / (4 * math.pi)).sqrt()
        return rms * (score / (values * size)).mean(-1)
