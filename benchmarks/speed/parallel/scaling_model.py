"""Model of time and memory per accelerator, from formulas and assumed rates, not measurements.

    python -m benchmarks.speed.parallel.scaling_model

See docs/scaling.md for its terms. A block is a layer with a spectral branch and an integral branch
of cutoff 3 π / nlat, and an MLP with twice the channels, all in float32. The rows and wavenumbers
of a rank are those of `sphere_ops.parallel.partition`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sphere_ops.engine.plan import ConvolutionSpec
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import IntegralFilter
from sphere_ops.parallel.partition import Shard

_FLOPS, _MEMORY, _NVLINK, _NETWORK = 50e12, 0.7 * 4.8e12, 0.7 * 450e9, 0.7 * 50e9
_NODE, _LATENCY = 8, 20e-6  # accelerators of a machine; seconds of an exchange, per power of two
_FILTERS, _SYMBOLS, _WINDOW = 4, 4, 11  # of the integral branch, as built at 91×180
_FULL = 141e9


@dataclass(frozen=True)
class Model:
    """Grid, and size of a network on it."""

    name: str
    nlat: int
    nlon: int
    channels: int
    blocks: int

    @property
    def spec(self) -> ConvolutionSpec:
        """Description of the layer of a block."""
        grid = Grid.equiangular(self.nlat, self.nlon)
        cutoff = 3 * math.pi / self.nlat
        filters = (IntegralFilter(cutoff, (3, 3), "piecewise linear", "nodal"),)
        return ConvolutionSpec(grid, grid, self.nlat // 2, filters)


@dataclass(frozen=True)
class Cost:
    """Memory (bytes) and time (s) of one rank in a step with one sample."""

    tables: float
    kept: float
    weights: float
    compute: float
    exchange: float
    gradients: float

    @property
    def memory(self) -> float:
        """Memory needed, bytes."""
        return self.tables + self.kept + self.weights

    @property
    def seconds(self) -> float:
        """Time of a step without overlap, s."""
        return self.compute + self.exchange + self.gradients


def cost(model: Model, data: int, latitude: int) -> Cost:
    """Return the cost of the largest shard, with one sample per rank along `data`."""
    spec, shard = model.spec, Shard(0, latitude)
    n, m, c, nlon = model.nlat, spec.orders, model.channels, model.nlon
    h = max(s.n_rows(n) for s in shard.all())
    per_rank = [spec.own_orders(s) for s in shard.all()]
    k = max(orders.count for orders in per_rank)
    pairs = max(  # degrees of the rank's orders
        sum(max(0, spec.lmax - int(i)) for i in orders.below(spec.mmax).index)
        for orders in per_rank
    )
    legendre = 1.25 * pairs * (n + 1) / 2  # four blocks of orders hold some zeros
    banded = 2 * k * n * _SYMBOLS * _WINDOW  # both directions
    tables = 4 * (legendre + banded)
    points, waves = h * nlon, 2 * k * n
    coeffs = 2 * spec.lmax * min(k, per_rank[0].count_below(spec.mmax))
    # Layer: wavenumbers and coefficients; MLP: its input, and the hidden layer twice.
    kept = 4 * c * (waves + coeffs + (1 + 2 * 2) * points) * model.blocks
    per_block = c * c * (spec.lmax + _FILTERS + 4)
    weights = 4 * 4 * per_block * model.blocks  # with gradient and both moments
    flops = 4 * 2 * legendre * c * 2  # two transforms, real and imaginary
    flops += 2 * 2 * pairs * c * c  # degrees
    flops += 2 * waves * c * c * _SYMBOLS + 2 * waves * c * _SYMBOLS * _WINDOW
    flops += 2 * points * c * c * 4  # MLP
    traffic = 4 * c * (12 * points + 8 * waves) + tables
    compute = 3 * model.blocks * max(flops / _FLOPS, traffic / _MEMORY)
    sent = 4 * 4 * c * (h * (m - k) + k * (n - h)) * model.blocks
    link = _NVLINK if latitude <= _NODE else _NETWORK
    rounds = 4 * model.blocks * _LATENCY * math.log2(latitude) if latitude > 1 else 0.0
    exchange = sent / link + rounds
    ranks = data * latitude
    ring = 2 * (ranks - 1) / ranks * weights / 4
    gradients = ring / (_NVLINK if ranks <= _NODE else _NETWORK)
    return Cost(tables, kept, weights, compute, exchange, gradients)


def main() -> None:
    """Print the tables of docs/scaling.md."""
    models = [
        Model("1°", 181, 360, 256, 8),
        Model("0.25°", 721, 1440, 256, 8),
        Model("0.1°", 1801, 3600, 64, 4),
        Model("0.1°", 1801, 3600, 256, 8),
    ]
    for model in models:
        print(f"\n{model.name}, {model.channels} channels, {model.blocks} blocks")
        columns: tuple[str, ...] = (
            "ranks",
            "data × latitude",
            "kept GB",
            "tables GB",
            "weights GB",
            "compute ms",
        )
        columns += ("exchange ms", "gradients ms", "samples/s", "efficiency")
        print("|", " | ".join(columns), "|\n|---:|---|" + "---:|" * 8)
        one = 1 / cost(model, 1, 1).seconds
        smallest = next(p for p in (2**i for i in range(10)) if cost(model, 1, p).memory < _FULL)
        for ranks in (1, 8, 64, 512):
            for latitude in sorted({min(smallest, ranks), min(8, ranks), min(64, ranks)}):
                c = cost(model, ranks // latitude, latitude)
                rate = ranks // latitude / c.seconds
                print(
                    f"| {ranks} | {ranks // latitude} × {latitude} | {c.kept / 1e9:.3g} "
                    f"| {c.tables / 1e9:.2g} | {c.weights / 1e9:.2g} | {1e3 * c.compute:.3g} "
                    f"| {1e3 * c.exchange:.3g} | {1e3 * c.gradients:.2g} | {rate:.3g} "
                    f"| {rate / one / ranks:.0%}{' (full)' if c.memory > _FULL else ''} |"
                )


if __name__ == "__main__":
    main()
