"""Runs of the comparison of ensembles: variants, training, choice and scores."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.ensembles.measure import Scores, measure
from benchmarks.accuracy.records import digest, read, saved, write
from benchmarks.speed.measure import machine
from configs.schema import Config
from configs.time.calendar import GREGORIAN
from data_prep.equations.generate import generate
from data_prep.shallow_water.generate import generate_shallow_water
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.training.tracking.git import git_commit
from forecast.training.train import train

_SMALL_SHARE = 1e-4
"""Share of the power of the truth: of geopotential, degrees from 15 on have less."""
DAY = 4
"""Model steps of a day."""
LMAX = 22
"""Truncation of data and models, exclusive."""


@dataclass(frozen=True)
class Flow:
    """Flow whose forecasts are compared.

    Attributes:
        data: Settings of the store that differ from `DATA`.
        model: Settings of the model that differ from `MODEL`.
        perturbations: Perturbations of the starts of deterministic models, one of which is chosen.
    """

    data: dict[str, Any]
    model: dict[str, Any]
    perturbations: list[str]


def _fields(*amplitudes: float) -> list[str]:
    return [f"field:amplitude={a},length={n}km" for n in (1500, 3000) for a in amplitudes]


DATA: dict[str, Any] = {
    "grid": {"kind": "legendre-gauss", "nlat": 32, "nlon": 64},
    "lmax": LMAX,
    "trajectories": {"train": 24, "validation": 4, "test": 8},
    "n_steps": 160,
    "time_step": "6h",
    "seed": 17,
}
FLOWS = {
    "forced": Flow(
        {"source": "shallow_water", "cases": [{"name": "forced"}], "spin_up": "90d"},
        {
            "static": ["sin_latitude", "cos_latitude", "orography"],
            "forcing": ["insolation", "sin_year", "cos_year"],
        },
        [
            *_fields(0.1, 0.15, 0.2, 0.25, 0.3),
            *(f"balanced:amplitude={a},length=1500km" for a in (0.2, 0.3)),
            *(f"bred:amplitude={a},interval=1d,cycles=5" for a in (0.2, 0.3)),
        ],
    ),
    "barotropic": Flow(
        {"source": "barotropic", "variables": ["vorticity"], "spin_up": "20d"},
        {"static": ["sin_latitude", "cos_latitude"]},
        [
            *_fields(0.05, 0.1, 0.15, 0.2, 0.25),
            *(f"bred:amplitude={a},interval=1d,cycles=5" for a in (0.05, 0.1)),
        ],
    ),
}
MODEL: dict[str, Any] = {
    "branches": {"spectral": {"lmax": LMAX}, "differential": {"order": 1}},
    "channels": 32,
    "blocks": 3,
    "dealias_lmax": LMAX,
    "persistence": "damped",
}
TRAINING: dict[str, Any] = {
    "steps": 2000,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "rollout_steps": 2,
    "rollout_from": 0.6,
    "ema_decay": 0.995,
    "validate_every": 500,
    "validation_rollout": 5 * DAY,
    "validation_states": 16,
    "spectral_loss": 0.05,
}


@dataclass(frozen=True)
class Variant:
    """Model of the comparison.

    Attributes:
        model: Settings of the model that differ from `MODEL`.
        training: Settings of the training that differ from `TRAINING`.
        start_from: Variant from whose weights the training starts; None for random ones.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    start_from: str | None = None

    def perturbations(self, flow: Flow) -> list[str]:
        """Return the perturbations among which one is chosen; "" for none."""
        return ["", flow.perturbations[0]] if "noise" in self.model else flow.perturbations


NOISE = {
    "noise": {
        "length_scales": ["700km", "1500km", "3000km"],
        "channels": 2,
        "correlation_time": "5d",
    }
}
LONGER = {"steps": 600, "learning_rate": 1e-3, "rollout_steps": 8, "rollout_from": 0.2}
CRPS = {"loss": "crps", "spectral_loss": 0.0, "members": 2, "batch_size": 4, "spectral_crps": 0.05}
VARIANTS = {
    "deterministic": Variant({}, {}),
    "continued": Variant({}, LONGER, start_from="deterministic"),
    "longer": Variant({}, LONGER, start_from="continued"),
    "noise": Variant(NOISE, LONGER | CRPS, start_from="continued"),
}


@dataclass(frozen=True)
class Plan:
    """Size of the study.

    Attributes:
        flow: Name of the flow.
        data: Settings of the store that replace those of the flow.
        training: Settings of the training of all variants.
        members: Members of an ensemble.
        days: Lead times of the scores, days.
        tuned_at: Lead time by which perturbations are chosen, days.
        tuning_members: Members by which they are chosen; the score does not depend on the number.
        starts: Positions of the initial states in a trajectory.
        perturbations: Number of perturbations that are tried; None for all.
        smaller: Settings of the training that replace those of a variant.
    """

    flow: str = "forced"
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=lambda: TRAINING)
    members: int = 16
    days: tuple[int, ...] = tuple(range(1, 11))
    tuned_at: int = 5
    tuning_members: int = 4
    starts: tuple[int, ...] = (24, 56, 88, 118)
    perturbations: int | None = None
    smaller: dict[str, Any] = field(default_factory=dict)

    def config(self, name: str, seed: int, out: Path) -> Config:
        """Return the configuration of a run."""
        flow, variant = FLOWS[self.flow], VARIANTS[name]
        training = {**self.training, **variant.training, **self.smaller, "seed": seed}
        if variant.start_from is not None:
            training["start_from"] = str(out / f"{variant.start_from}-{seed}" / "best")
        tracking = {"enabled": False}
        model = {**MODEL, **flow.model, **variant.model}
        data = {**DATA, **flow.data, **self.data}
        tree = {"data": data, "model": model, "training": training, "tracking": tracking}
        return Config.model_validate(tree)


QUICK = Plan(
    data={"trajectories": {"train": 2, "validation": 1, "test": 1}, "n_steps": 20,
          "spin_up": "2d"},
    training={**TRAINING, "validate_every": 4, "validation_rollout": 2, "validation_states": 1},
    members=3, days=(1, 2), tuned_at=1, tuning_members=2, starts=(8,), perturbations=2,
    smaller={"steps": 4, "rollout_steps": 2},
)  # fmt: skip


def run(name: str, seed: int, plan: Plan, out: Path) -> dict[str, Any]:
    """Train, choose the perturbation on the validation split, and score the test split."""
    variant, data = VARIANTS[name], out / "store.zarr"
    config = plan.config(name, seed, out)
    folder = out / f"{name}-{seed}"
    result = train(config, data, folder, resume=True)
    if result.stopped_by is not None:
        raise SystemExit(f"{folder} was stopped at step {result.step}; start again to go on")
    days = tuple(day for day in plan.days if day <= plan.tuned_at)
    until = replace(plan, days=days, members=plan.tuning_members)
    tried = {
        text: ensemble_scores(folder / "best", data, "validation", text, until).mean_crps(-1)
        for text in variant.perturbations(FLOWS[plan.flow])[: plan.perturbations]
    }
    chosen = min(tried, key=lambda text: tried[text])
    scores = ensemble_scores(folder / "best", data, "test", chosen, plan)
    configuration = config.model_dump(mode="json", include={"model", "training"})
    if variant.start_from is not None:
        configuration["training"]["start_from"] = f"{variant.start_from}-{seed}/best"  # in `out`
    return {
        "variant": name,
        "seed": seed,
        "commit": git_commit(),
        "configuration": configuration,
        "validation": result.validation,
        "validation_crps": {text: round(value, 5) for text, value in tried.items()},
        "perturbation": chosen,
        "mean_crps": [round(scores.mean_crps(k), 5) for k in range(len(plan.days))],
        "test": scores.values(),
    }


def ensemble_scores(package: Path, data: Path, split: str, perturbation: str, plan: Plan) -> Scores:
    """Forecast an ensemble from a split and score it."""
    store = Store(data)
    times = [GREGORIAN.label(store.time[i], "m") for i in plan.starts]
    steps = [day * DAY for day in plan.days]
    with tempfile.TemporaryDirectory() as folder:
        forecast = Path(folder, "forecast.nc")
        run_rollout(
            package,
            data,
            forecast,
            split=split,
            init_times=times,
            n_steps=steps[-1],
            batch_size=32,
            members=plan.members,
            perturbations=[perturbation] if perturbation else [],
        )
        file = ForecastFile(forecast)
        scores = measure(file, store, steps, LMAX)
        file.dataset.close()
    return scores


def summary(runs: Sequence[dict[str, Any]], days: Sequence[int]) -> dict[str, Any]:
    """Return the means over seeds of each variant, and their comparison."""
    found: dict[str, Any] = {"days": list(days)}
    for name in VARIANTS:
        of = [r for r in runs if r["variant"] == name]
        if not of:
            continue
        ratios = np.array([list(r["test"]["spread_skill"].values()) for r in of])  # (run, c, day)
        power = np.array([list(r["test"]["power"].values()) for r in of])  # (run, c, degree)
        share = np.array([list(r["test"]["share"].values()) for r in of])
        factor = np.maximum(power, 1 / power)
        found[name] = {
            "seeds": [r["seed"] for r in of],
            "mean_crps": np.mean([r["mean_crps"] for r in of], axis=0).round(5).tolist(),
            "spread_skill": ratios.mean((0, 1)).round(3).tolist(),
            "spread_skill_range": [round(float(x), 3) for x in (ratios.min(), ratios.max())],
            "largest_factor_of_power": round(float(factor.max()), 3),
            f"largest_factor_of_power_where_share_above_{_SMALL_SHARE:g}": round(
                float(factor[share > _SMALL_SHARE].max()), 3
            ),
            "perturbations": [r["perturbation"] for r in of],
        }
    for name in VARIANTS:
        if name in found and "noise" in found and name != "noise":
            ours, other = (np.array(found[n]["mean_crps"]) for n in ("noise", name))
            found[f"noise_over_{name}"] = (ours / other).round(4).tolist()
    return found


def study(plan: Plan, out: Path, seeds: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """Do all that is not done yet, write the summary and return it."""
    out.mkdir(parents=True, exist_ok=True)
    data = out / "store.zarr"
    if not data.exists():
        config = plan.config("deterministic", 0, out).data
        if config.source == "shallow_water":
            generate_shallow_water(config, data)
        elif config.source != "files":
            generate(config, data)
    store = Store(data)
    for seed in seeds:
        for name in names:
            saved(out / f"{name}-{seed}.json", partial(run, name, seed, plan, out))
    runs = [read(path) for path in sorted(out.glob("*-[0-9]*.json"))]
    settings = plan.config("deterministic", 0, out).data.model_dump(mode="json")
    result = {"machine": machine(), "data": {"sha256": digest(store), "settings": settings}}
    of_all = summary(runs, plan.days)
    result |= {"flow": plan.flow, "members": plan.members} | of_all | {"runs": runs}
    write(out / "summary.json", result)
    print(json.dumps(of_all, indent=1))
    return result
