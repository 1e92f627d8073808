"""Experiments with the shallow-water solver: flow, data sets and forecasts of each.

An experiment has one store for the training, and for each of the splits `validation` and `test` one
with forecasts' truths and one with few long trajectories. Choices are made on `validation`, whose
trajectories are those of the training's own validation. The seed of `test` is used for nothing
else, and can be changed without training again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from configs import layout
from configs.load import load_config
from configs.solvers import ShallowWaterData
from configs.time.step import TimeStep
from data_prep.shallow_water.generate import generate_shallow_water
from data_prep.store.reader import Store

PRESET = "swe"
CHANNELS = ("geopotential", "vorticity", "divergence")
"""Channels that are scored, and those of a model unless its row says otherwise."""
WINDS = ("eastward_wind", "northward_wind")


@dataclass(frozen=True)
class Experiment:
    """Flow, data sets and forecasts.

    Attributes:
        name: Name of the experiment.
        cases: Cases of the solver with the same constants, as in `data.cases`.
        spin_up: Time that is solved before the first state.
        nlat: Rows of the grid, which has twice as many columns.
        lmax: Truncation of the data, exclusive.
        time_step: Time step of the models.
        n_steps: Steps of a training trajectory.
        train: Number of training trajectories.
        validation: Number of validation trajectories.
        test: Number of test trajectories.
        seed: Seed of training and validation.
        test_seed: Seed of the test.
        leads: Lead times of the tables, steps.
        long: Steps of the long rollouts.
        long_every: Steps between the states of their truth.
        long_states: Number of trajectories that they start from.
        first: Steps of a trajectory before the first initial state of forecasts.
        starts_every: Steps between the initial states of forecasts in a trajectory, which is then
            as long as one of the training; None for one forecast of each trajectory. Flows with it
            are climates: persistence has a climatology beside it.
        static: Static inputs of all networks.
        matched: Row whose size and time the peers are given.
        extra: Further overrides of the preset.
    """

    name: str
    cases: tuple[dict[str, Any], ...]
    test_seed: int
    spin_up: str = "0h"
    nlat: int = 64
    lmax: int = 43
    time_step: str = "1h"
    n_steps: int = 20
    train: int = 60
    validation: int = 8
    test: int = 24
    seed: int = 0
    leads: tuple[int, ...] = (1, 5, 20)
    long: int = 1000
    long_every: int = 10
    long_states: int = 4
    first: int = 0
    starts_every: int | None = None
    static: tuple[str, ...] = ("sin_latitude", "cos_latitude")
    matched: str = "64 differential"
    extra: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Time step of the models, s."""
        seconds = TimeStep.parse(self.time_step).seconds
        assert seconds is not None
        return seconds

    def overrides(self) -> list[str]:
        """Return the overrides of the preset for a run: training data and model of the grid."""
        return [
            f"data.grid={{kind: legendre-gauss, nlat: {self.nlat}, nlon: {2 * self.nlat}}}",
            f"data.lmax={self.lmax}",
            f"data.cases={json.dumps(self.cases)}",
            f"data.spin_up={self.spin_up}",
            f"data.time_step={self.time_step}",
            f"data.trajectories={{train: {self.train}, validation: {self.validation}, test: 0}}",
            f"data.n_steps={self.n_steps}",
            f"data.seed={self.seed}",
            f"model.dealias_lmax={self.lmax}",
            f"model.static=[{', '.join(self.static)}]",
            *self.extra,
        ]

    def data(self, part: str) -> ShallowWaterData:
        """Return the configuration of a store.

        Args:
            part: "train", or "validation" or "test" for the truth of forecasts, with "-long"
                after it for that of long rollouts.
        """
        data = load_config(PRESET, self.overrides()).data
        assert isinstance(data, ShallowWaterData)
        changed: dict[str, Any] = {"variables": (*CHANNELS, *WINDS)}
        split, _, is_long = part.partition("-")
        if split != "train":
            count = getattr(self, split)
            changed["seed"] = self.test_seed if split == "test" else self.seed
            to_last = self.first + self.leads[-1]
            changed["n_steps"] = to_last if self.starts_every is None else self.n_steps
            if is_long:
                count = min(count, self.long_states)
                changed["n_steps"] = self.long // self.long_every
                changed["time_step"] = f"{self.seconds * self.long_every / 3600:g}h"
            # A store needs one training trajectory, of which nothing is used here.
            counts = {"train": 1, "validation": 0, "test": 0, split: count}
            changed["trajectories"] = counts
        return ShallowWaterData.model_validate(data.model_dump() | changed)


def prepare(experiment: Experiment, part: str, folder: Path) -> Store:
    """Open a store of an experiment, and generate it first if it is absent.

    Raises:
        ValueError: if the store that is there has another configuration.
    """
    path, data = folder / f"{part}.zarr", experiment.data(part)
    if not path.exists():
        generate_shallow_water(data, path)
    store = Store(path)
    found = yaml.safe_load(str(store.attributes[layout.CONFIGURATION]))
    expected = data.model_dump(mode="json")
    changed = [key for key, value in expected.items() if found.get(key) != value]
    if changed:
        raise ValueError(
            f"{path} is not the store of experiment {experiment.name}: it differs in "
            f"{', '.join(f'{key} ({found.get(key)}, expected {expected[key]})' for key in changed)}"
            "; take another folder, or delete it"
        )
    return store


def _random(mach: float) -> dict[str, Any]:
    """Return the case of random states whose winds and heights have the size of a Mach number."""
    return {"name": "random", "parameters": {"mach": mach, "height_amplitude": 600 * mach}}


def _jet(hemisphere: int) -> dict[str, Any]:
    """Return the case of unstable jets in a hemisphere, 1 or -1; jet and bump vary."""
    varied = {"wind": (80, 10), "jet_latitude": (45 * hemisphere, 5), "bump_height": (120, 60),
              "bump_latitude": (45 * hemisphere, 10), "bump_longitude": (0, 180)}  # fmt: skip
    parameters = {"hyperdiffusion_hours": 2}
    for name, (mean, spread) in varied.items():
        parameters |= {name: mean, f"{name}_spread": spread}
    return {"name": "galewsky", "parameters": parameters}


WEAK = Experiment("weak", (_random(0.2),), test_seed=1701)
STRONG = replace(
    WEAK, name="strong", cases=(_random(2.0),), test_seed=1702, spin_up="1d", leads=(1, 5, 20, 48),
    matched="64 both",
)  # fmt: skip
# In a step, geopotential and vorticity change by 1 and 5 % of their size, divergence by all of it.
JETS = replace(
    WEAK, name="jets", cases=(_jet(1), _jet(-1)), test_seed=1705, time_step="3h", n_steps=48,
    train=40, first=8, leads=(1, 8, 24, 40), long=200, long_every=8, matched="64 both",
    extra=("training.channel_weights={geopotential: 100, vorticity: 20}",),
)  # fmt: skip
FORCED = Experiment(
    "forced", ({"name": "forced"},), test_seed=1704, spin_up="90d", nlat=32, lmax=22,
    time_step="6h", n_steps=1460, train=4, validation=1, test=1, leads=(1, 4, 20, 40),
    long_states=1, starts_every=59, static=("sin_latitude", "cos_latitude", "orography"),
    matched="64 both", extra=(
        "model.forcing=[insolation, sin_year, cos_year]", "training.validation_states=16"),
)  # fmt: skip
_AS_PUBLISHED = ("training.optimizer=adamw", "training.batch_size=4")
ABLATION = replace(
    WEAK, name="ablation", test_seed=0, validation=0,
    extra=(*_AS_PUBLISHED, "training.steps=1500"),
)  # fmt: skip
HALF = replace(
    ABLATION, name="half", nlat=32, lmax=22, time_step="2h", test=8, long=200,
    extra=(*_AS_PUBLISHED, "training.steps=500"),
)  # fmt: skip
EXPERIMENTS = {e.name: e for e in (WEAK, STRONG, JETS, FORCED, ABLATION, HALF)}
"""`weak` is the flow of Bonev et al. (2023). `forced` has forecasts from 25 states of a year.
`ablation` has the same training pairs as `weak` and no validation, `half` is the same at half the
resolution: these two are the published ones."""


def quick(experiment: Experiment) -> Experiment:
    """Return an experiment of the same flow that takes seconds."""
    return replace(
        experiment,
        name=f"{experiment.name}, quick",
        nlat=12,
        lmax=8,
        n_steps=4,
        train=2,
        validation=1,
        test=2,
        test_seed=1,
        leads=(1, 2),
        long=4,
        long_every=2,
        long_states=1,
        first=min(experiment.first, 2),
        starts_every=experiment.starts_every and 2,
        extra=(
            *experiment.extra,
            "model.channels=4",
            "model.blocks=2",
            "training.steps=3",
            "training.batch_size=2",
            "training.validate_every=2",
            "training.validation_rollout=2",
            "training.validation_states=2",
        ),
    )
