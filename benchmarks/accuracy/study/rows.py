"""Rows of the tables: networks by name, as differences from the preset `swe`.

A name is a truncation of the spectral branch at 64 rows of the grid (0 for none), the local
branches, and options: `64 both`, `16 differential, second order`, `64 none, complex`. Or it is a
peer and options: `sfno`, `lsno, longitude, equal time`.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.accuracy.peers import PEERS, peer_builder
from benchmarks.accuracy.study.experiments import CHANNELS, PRESET, WINDS, Experiment
from configs.load import load_config
from configs.schema import Config
from forecast.model.build import BuildNetwork, build_network

TRUNCATIONS = ("64", "32", "16", "0")
LOCAL = {
    "none": ("integral", "differential"),
    "integral": ("differential",),
    "differential": ("integral",),
    "both": (),
}
"""Branches that are absent, by the name of the local ones."""
_LONGITUDE = ("sin_longitude", "cos_longitude")
_BUFFER = ("training.replay_steps=40", "training.replay_from=0.2")
COMMON_OPTIONS: dict[str, tuple[str, ...]] = {
    "longitude": (),  # in addition to the static inputs of the experiment
    "winds": (f"data.variables=[{', '.join((*CHANNELS, *WINDS))}]",),
    "multi-step": ("training.rollout_steps=4", "training.rollout_from=0.6"),
    "aliased": ("model.dealias_lmax=null",),
    "weight decay": ("training.weight_decay=0.1",),
    "averaged": ("training.ema_decay=0.99",),
    "longer": ("training.steps=12000",),
    "buffer": _BUFFER,
    "short buffer": ("training.replay_steps=12", "training.replay_from=0.6"),
    "replay": ("model.persistence=damped", "training.spectral_loss=0.05", *_BUFFER),
}
"""Options of all networks. `longitude` has inputs x = cos φ cos λ and y = cos φ sin λ: products
and isotropic kernels make ∂/∂λ = x∂_y − y∂_x of them, which distinguishes east from west. `longer`
has four times the steps of the preset. `buffer` and `short buffer` train a network on its own
states, too; `replay` has all that makes rollouts of a climate hold (docs/stability.md)."""
OWN_OPTIONS: dict[str, tuple[str, ...]] = {
    "complex": ("model.branches.spectral.complex=true",),
    "second order": ("model.branches.differential.order=2",),
    "bf16": ("training.precision=bf16",),
    "2×32": ("model.blocks=2", "model.channels=32"),
    "3×24": ("model.blocks=3", "model.channels=24"),
    "4×16": ("model.blocks=4", "model.channels=16"),
}
"""Options of our networks."""
SAMPLED = "sampled"
"""Option of our networks: derivatives of polynomials and kernels that are sampled at grid points,
instead of local branches that are fitted to the degrees of the data."""
EQUAL = ("equal parameters", "equal time")
"""Options of peers: numbers of channels that `benchmarks.accuracy.study.sizes` finds."""
OTHER_GRIDS = "other grids"
"""Option of our networks: errors on other grids are measured, too."""
PEER_RATES = (5e-3, 1e-2, 2e-2, 3e-2)
"""Learning rates from which that of a peer is chosen; ours have that of the preset."""
CLAIM = (
    "64 none", "64 none, complex", "64 none, longitude", "64 none, winds",
    "64 integral", "64 differential", "64 both", "64 both, complex", "64 both, second order",
    "32 none", "32 both", "16 none", "16 both", "16 both, second order",
    *(f"{peer}{option}" for peer in PEERS for option in (
        ", equal parameters", ", equal time", ", longitude, equal time")),
)  # fmt: skip
"""Rows that a study has by default."""


@dataclass(frozen=True)
class Row:
    """One network and its training.

    Attributes:
        name: Name of the row.
        options: Its options.
        absent: Branches that the network does not have.
        lmax: Truncation of the spectral branch, relative to the rows of the grid.
        overrides: Further overrides of the preset.
        rates: Learning rates to choose from; empty for that of the preset.
        build: Function that builds the network.
    """

    name: str
    options: tuple[str, ...]
    absent: tuple[str, ...]
    lmax: float
    overrides: tuple[str, ...]
    rates: tuple[float, ...] = ()
    build: BuildNetwork = build_network

    def config(
        self,
        experiment: Experiment,
        seed: int = 0,
        rate: float | None = None,
        channels: int | None = None,
    ) -> Config:
        """Return the configuration of a run.

        Args:
            experiment: Data and grid.
            seed: Seed of the weights and of the order of the batches.
            rate: Learning rate, instead of that of the preset.
            channels: Number of channels, instead of that of the preset.
        """
        given = {
            "spectral": f"model.branches.spectral.lmax={round(self.lmax * experiment.nlat)}",
            "integral": f"model.branches.integral.theta_cutoff={0.15 * 64 / experiment.nlat:g}",
        }
        words = experiment.overrides()
        if "longitude" in self.options:
            words.append(f"model.static=[{', '.join((*experiment.static, *_LONGITUDE))}]")
        words += [word for branch, word in given.items() if branch not in self.absent]
        words += [f"model.branches.{branch}=null" for branch in self.absent]
        fit = "null" if SAMPLED in self.options else experiment.lmax
        local = [b for b in ("integral", "differential") if b not in self.absent]
        words += [f"model.branches.{b}.fit_lmax={fit}" for b in local]
        words += [*self.overrides, f"training.seed={seed}", "tracking.enabled=false"]
        words += [f"training.learning_rate={rate}"] * (rate is not None)
        words += [f"model.channels={channels}"] * (channels is not None)
        return load_config(PRESET, words)


def row(name: str) -> Row:
    """Return the row of a name.

    Raises:
        ValueError: if there is no such row; the message names the parts of a name.
    """
    first, *options = name.split(", ")
    if first in PEERS:
        known = {**COMMON_OPTIONS, **dict.fromkeys(EQUAL, ())}
        overrides = ("model.mlp_ratio=2", *_overrides(name, options, known))
        build = peer_builder(first)
        return Row(name, tuple(options), LOCAL["none"], 1.0, overrides, PEER_RATES, build)
    truncation, _, local = first.partition(" ")
    if truncation not in TRUNCATIONS or local not in LOCAL or first == "0 none":
        raise ValueError(
            f"there is no row {name!r}; a name begins with one of {', '.join(PEERS)}, or with one "
            f"of {', '.join(TRUNCATIONS)} degrees and the local branches {', '.join(LOCAL)}, as in "
            "'64 both'"
        )
    absent = (*LOCAL[local], *["spectral"] * (truncation == "0"))
    known = {**COMMON_OPTIONS, **OWN_OPTIONS, OTHER_GRIDS: (), SAMPLED: ()}
    overrides = _overrides(name, options, known)
    for branch in absent:  # an option of it would add it again
        if any(word.startswith(f"model.branches.{branch}.") for word in overrides):
            raise ValueError(f"row {name!r} has an option of its {branch} branch, and no such one")
    return Row(name, tuple(options), absent, int(truncation) / 64, overrides)


def _overrides(name: str, options: list[str], known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    wrong = [option for option in options if option not in known]
    if wrong:
        raise ValueError(f"row {name!r} has no option {wrong[0]!r}; it may have {', '.join(known)}")
    return tuple(word for option in options for word in known[option])
