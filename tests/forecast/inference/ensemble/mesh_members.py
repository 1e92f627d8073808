"""Ensembles on every rank of a mesh, for comparison with those of one process."""

from pathlib import Path

from forecast.inference.forecast import run_rollout
from forecast.training.processes import all_processes
from tests.forecast.inference.ensemble.conftest import make_forecaster

FIELD = "field:amplitude=0.5,length=3000km"
# The vorticity of the store is 10,000 times that of the Earth, and so is the geopotential.
BALANCED = "balanced:amplitude=1e-6"
CASES = {
    "all kinds": ["lagged", FIELD, BALANCED, "bred:cycles=2"],
    "masked": [f"{FIELD},means=all", "bred:cycles=1,pairs=yes"],
}


def ensembles(folder: Path, out: Path, latitude: int) -> None:
    """Forecast three members with two models from trajectories, and two from a masked series."""
    with all_processes(latitude):
        models = [make_forecaster(folder / "store.zarr", seed=seed) for seed in (0, 1)]
        for suffix in ("nc", "zarr"):
            run_rollout(
                models,
                folder / "store.zarr",
                out / f"all kinds.{suffix}",
                split="train",
                n_steps=2,
                batch_size=2,
                members=3,
                perturbations=CASES["all kinds"],
            )
        run_rollout(
            make_forecaster(folder / "series.zarr"),
            folder / "series.zarr",
            out / "masked.nc",
            init_times=["2002-01", "2002-05", "2002-07"],
            n_steps=2,
            members=2,
            perturbations=CASES["masked"],
        )
