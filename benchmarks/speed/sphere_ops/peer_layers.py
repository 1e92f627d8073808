"""Layers of both libraries for the comparison of `benchmarks.speed.sphere_ops`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sphere_ops import Grid, IntegralConv, LocalSphericalConv
from sphere_ops.precision import products


@dataclass(frozen=True)
class Case:
    """Fields of a comparison; `cutoff` is the radius of the integral branch, radians."""

    grid: Grid
    batch: int
    channels: int
    cutoff: float

    @property
    def shape(self) -> str:
        """Shape of the fields, as text for the table."""
        return "×".join(map(str, (self.batch, self.channels, *self.grid.shape)))


class InPrecision(nn.Module):
    """Layer of the peer with the product precision of ours, through its public settings."""

    def __init__(self, layer: nn.Module, precision: str, device: torch.device) -> None:
        super().__init__()
        self.layer, self.precision, self.device = layer, precision, device

    def forward(self, x: Tensor) -> Tensor:
        """Return the result in float32."""
        bf16 = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with bf16, products(self.precision, self.device):
            return self.layer(x).float()


class TwoBranches(nn.Module):
    """Sum of torch-harmonics' spectral and integral layers."""

    def __init__(self, spectral: nn.Module, integral: nn.Module) -> None:
        super().__init__()
        self.spectral, self.integral = spectral, integral

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both layers."""
        return self.spectral(x) + self.integral(x)


def layers(
    name: str, case: Case, device: torch.device
) -> tuple[Tensor, nn.Module, dict[str, nn.Module]]:
    """Return fields, our layer, and torch-harmonics' fused and unfused layers with its weights."""
    import torch_harmonics as th

    grid, cutoff, c = case.grid, case.cutoff, case.channels
    x = torch.randn(case.batch, c, *grid.shape, device=device)
    integral: dict[str, nn.Module] = {
        "fused" if fused else "unfused": th.DiscreteContinuousConvS2(
            c,
            c,
            in_shape=grid.shape,
            out_shape=grid.shape,
            kernel_shape=(3, 3),
            theta_cutoff=cutoff,
            grid_in=grid.kind,
            grid_out=grid.kind,
            bias=False,
            fused=fused,
        ).to(device)
        for fused in (False, True)
    }
    if name == "integral":
        ours = IntegralConv(c, c, grid, theta_cutoff=cutoff).to(device)
        with torch.no_grad():
            for layer in integral.values():
                layer.get_parameter("weight").copy_(ours.weight)
        return x, ours, integral
    branches: dict[str, dict[str, Any]] = {
        "spectral": {"lmax": grid.nlat},
        "integral": {"theta_cutoff": cutoff},
        "differential": {"order": 1, "length_scale": 1 / grid.nlat},
    }
    ours_block = LocalSphericalConv(c, c, grid, branches).to(device)
    spectral = th.SpectralConvS2(
        grid.shape, grid.shape, c, c, grid_in=grid.kind, grid_out=grid.kind
    ).to(device)
    peers: dict[str, nn.Module] = {n: TwoBranches(spectral, layer) for n, layer in integral.items()}
    return x, ours_block, peers
