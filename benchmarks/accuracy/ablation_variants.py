"""Data of the ablation, and the variants that it compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from configs.load import load_config
from configs.schema import Config

PRESET = "swe"


@dataclass(frozen=True)
class Task:
    """Training data and size of the ablation.

    Attributes:
        nlat: Rows of the grid, which has twice as many columns.
        lmax: Truncation of the data, exclusive.
        time_step: Time step of the model.
        test: Number of unseen trajectories.
        long: Number of steps of the long rollout.
        long_states: Number of test trajectories that the long rollout starts from.
        extra: Further overrides of the preset.
    """

    nlat: int = 64
    lmax: int = 43
    time_step: str = "1h"
    test: int = 24
    long: int = 1000
    long_states: int = 4
    extra: tuple[str, ...] = ()

    def overrides(self) -> list[str]:
        """Return the overrides of the preset."""
        return [
            f"data.grid={{kind: legendre-gauss, nlat: {self.nlat}, nlon: {2 * self.nlat}}}",
            f"data.lmax={self.lmax}",
            f"data.time_step={self.time_step}",
            f"data.trajectories={{train: 60, validation: 0, test: {self.test}}}",
            "data.n_steps=20",
            f"model.dealias_lmax={self.lmax}",
            *self.extra,
        ]


FULL = Task()
HALF = Task(nlat=32, lmax=22, time_step="2h", test=8, long=200)


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Attributes:
        name: Name of the row.
        lmax: Truncation of the spectral branch, relative to the rows of the grid.
        absent: Branches that the network does not have.
        overrides: Further overrides of the preset.
        transfer: True to measure errors on other grids.
        fitted: True for local branches that are fitted to the degrees of the data.
    """

    name: str
    lmax: float = 1.0
    absent: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    transfer: bool = False
    fitted: bool = False

    def config(self, task: Task, seed: int = 0) -> Config:
        """Return the configuration of a run."""
        present = [
            f"model.branches.spectral.lmax={round(self.lmax * task.nlat)}",
            f"model.branches.integral.theta_cutoff={0.15 * 64 / task.nlat:g}",
        ]
        if self.fitted:
            present += [
                f"model.branches.{name}.fit_lmax={task.lmax}"
                for name in ("integral", "differential")
            ]
        present = [o for o in present if o.split(".")[2] not in self.absent]
        gone = [f"model.branches.{name}=null" for name in self.absent]
        seeded = f"training.seed={seed}"
        return load_config(PRESET, [*task.overrides(), *present, *gone, *self.overrides, seeded])


def ablation() -> list[Variant]:
    """Return all combinations of spectral truncation and local branches."""
    return [
        Variant(f"{lmax} {name}", lmax / 64, absent)
        for lmax in (16, 32, 64)
        for name, absent in (
            ("none", ("integral", "differential")),
            ("integral", ("differential",)),
            ("differential", ("integral",)),
            ("both", ()),
        )
    ]


_SECOND_ORDER = ("model.branches.differential.order=2",)
_MULTI_STEP = ("training.rollout_steps=4", "training.rollout_from=0.6")


def best() -> list[Variant]:
    """Return variants of the best network: other grids, several steps in the loss, bf16."""
    name = "64 differential"
    cut: dict[str, Any] = {"absent": ("integral",)}
    return [
        Variant(f"{name}, other grids", **cut, transfer=True),
        Variant(f"{name}, multi-step", **cut, overrides=_MULTI_STEP),
        Variant(f"{name}, bf16", **cut, overrides=("training.precision=bf16",)),
    ]


def second_order() -> list[Variant]:
    """Return variants with second derivatives, with and without spectral truncation."""
    return [
        Variant(f"{lmax} {name}, second order", lmax / 64, absent, _SECOND_ORDER)
        for lmax in (16, 64)
        for name, absent in (("differential", ("integral",)), ("both", ()))
    ]


def small() -> list[Variant]:
    """Return networks that are no slower than all degrees without local branches."""

    def size(blocks: int, channels: int) -> tuple[str, ...]:
        return f"model.blocks={blocks}", f"model.channels={channels}"

    name = "16 both, second order"
    sizes = ((2, 32), (3, 24), (4, 16))
    return [
        *(
            Variant(f"{name}, {b}×{c}", 0.25, (), (*_SECOND_ORDER, *size(b, c)), transfer=True)
            for b, c in sizes
        ),
        Variant("64 differential, 4×16", 1.0, ("integral",), size(4, 16)),
    ]


def stability() -> list[Variant]:
    """Return remedies for the instability of a differential branch with few degrees."""
    cut: dict[str, Any] = {"lmax": 0.25, "absent": ("integral",)}
    aliased = ("model.dealias_lmax=null",)
    return [
        Variant("aliased", **cut, overrides=aliased),
        Variant("aliased, multi-step", **cut, overrides=(*aliased, *_MULTI_STEP)),
        Variant("dealiased", **cut),
        Variant("dealiased, multi-step", **cut, overrides=_MULTI_STEP),
        Variant("second order", **cut, overrides=_SECOND_ORDER),
        Variant("second order, multi-step", **cut, overrides=(*_SECOND_ORDER, *_MULTI_STEP)),
        Variant("weight decay", **cut, overrides=("training.weight_decay=0.1",)),
        Variant("averaged", **cut, overrides=("training.ema_decay=0.99",)),
    ]


def mlp() -> list[Variant]:
    """Return variants of the MLP of a block, with equal numbers of parameters."""
    gelu = ("model.mlp=gelu", "model.mlp_ratio=2.0")
    return [Variant("products"), Variant("gelu", overrides=gelu)]


def both_stencils() -> list[Variant]:
    """Return networks with either kind of stencils, measured on other grids."""
    depth = (*_SECOND_ORDER, "model.channels=16")
    cut: tuple[str, ...] = ("integral",)
    return [
        Variant(f"{name}{', fitted' * fitted}", lmax, absent, overrides, True, fitted)
        for name, lmax, absent, overrides in (
            ("16 both, second order, 4×16", 0.25, (), depth),
            ("16 differential, second order, 4×16", 0.25, cut, depth),
            ("16 both, second order", 0.25, (), _SECOND_ORDER),
            ("64 differential", 1.0, cut, ()),
        )
        for fitted in (False, True)
    ]


SETS: dict[str, Callable[[], list[Variant]]] = {
    "ablation": ablation,
    "best": best,
    "mlp": mlp,
    "second-order": second_order,
    "small": small,
    "stability": stability,
    "transfer": both_stencils,
}
