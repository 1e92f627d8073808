"""Generator of stores from equation sets: contents, recovery, messages."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.section import GridConfig
from configs.solvers import BarotropicData, DarcyData, DiffusionReactionData, SplitCounts
from data_prep.equations.barotropic import BarotropicProblem
from data_prep.equations.generate import EquationData, generate
from data_prep.store.reader import Store
from data_prep.store.verify import verify
from sphere_ops.harmonics.winds import vorticity_divergence

SMALL = {
    "grid": GridConfig(nlat=16, nlon=32),
    "lmax": 11,
    "trajectories": SplitCounts(train=3, validation=2, test=1),
    "batch_size": 2,
}


def barotropic(**changes: object) -> BarotropicData:
    settings = SMALL | {"n_steps": 3, "spin_up": "6h", "time_step": "3h"} | changes
    return BarotropicData(**settings)  # type: ignore[arg-type]


def diffusion_reaction(**changes: object) -> DiffusionReactionData:
    return DiffusionReactionData(**(SMALL | {"n_steps": 3} | changes))  # type: ignore[arg-type]


def darcy(**changes: object) -> DarcyData:
    settings = SMALL | {"lmax": 22, "parameters": {"length": 0.5}} | changes
    return DarcyData(**settings)  # type: ignore[arg-type]


CONFIGURATIONS = [barotropic(), diffusion_reaction(), darcy()]


def opened(path: Path) -> xr.Dataset:
    with xr.open_zarr(path, consolidated=False, chunks=None) as data:
        return data.load()


@pytest.fixture(scope="module", params=CONFIGURATIONS, ids=lambda c: c.source)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EquationData, Path]:
    """Configuration of each equation set, and its store."""
    folder = tmp_path_factory.mktemp(request.param.source)
    return request.param, generate(request.param, folder / "a.zarr")


def test_a_store_is_complete_and_says_where_it_is_from(made: tuple[EquationData, Path]) -> None:
    config, path = made
    assert list(verify(path)) == []
    data = opened(path)
    assert data["split"].values.tolist() == ["train"] * 3 + ["validation"] * 2 + ["test"]
    assert set(data["case"].values.tolist()) == {config.source}
    assert len(set(data["seed"].values.tolist())) == 6
    assert f"source: {config.source}" in data.attrs["configuration"]
    assert np.isfinite(data["fields"].values).all()
    assert (data["std"].values > 0).all()
    assert len(Store(path).windows("train", 1))


def test_trajectories_do_not_depend_on_the_batch(
    made: tuple[EquationData, Path], tmp_path: Path
) -> None:
    config, path = made
    other = config.model_copy(update={"batch_size": 6})
    again = opened(generate(other, tmp_path / "b.zarr"))["fields"].values
    whole = opened(path)["fields"].values
    scale = np.abs(whole).max(axis=(0, 1, 3, 4), keepdims=True)
    assert (np.abs(again - whole) / scale).max() < 1e-5  # float32 on disk


class Killed(Exception):
    """Exception that represents a kill during the run."""


def test_a_generation_that_was_stopped_goes_on(
    made: tuple[EquationData, Path], tmp_path: Path
) -> None:
    config, path = made

    def stop(done: int, total: int, note: str) -> None:
        if done >= 2:
            raise Killed

    with pytest.raises(Killed):
        generate(config, tmp_path / "b.zarr", progress=stop)
    done: list[int] = []
    generate(config, tmp_path / "b.zarr", progress=lambda n, total, note: done.append(n))
    assert done[0] > 2
    assert done[-1] == 6
    whole, again = (opened(p)["fields"].values for p in (path, tmp_path / "b.zarr"))
    scale = np.abs(whole).max(axis=(0, 1, 3, 4), keepdims=True)
    assert (np.abs(again - whole) / scale).max() < 1e-5


def test_an_unknown_variable_is_refused_before_anything_is_written(
    made: tuple[EquationData, Path], tmp_path: Path
) -> None:
    config, _ = made
    wrong = config.model_copy(update={"variables": ("sst",)})
    with pytest.raises(ValueError, match="has no variable 'sst'; it has"):
        generate(wrong, tmp_path / "b.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_trajectory_that_blows_up_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wild = barotropic(solver_dt=10800.0, n_steps=20, parameters={"initial_wind": 2000.0})
    with pytest.raises(ValueError, match="none of the 3 training .* solver_dt"):
        generate(wild, tmp_path / "b.zarr")
    assert "is not finite at" in caplog.text


def test_barotropic_states_are_those_of_the_solver_with_their_winds(tmp_path: Path) -> None:
    names = ("eastward_wind", "northward_wind", "vorticity")
    config = barotropic(spin_up="0h", variables=names)
    path = generate(config, tmp_path / "a.zarr")
    data = opened(path)
    solver = BarotropicProblem(config).solver
    state = solver.initial_states([int(data["seed"][1])])
    end = solver.advance(state, 0.0, 3 * 10800.0, 3 * 64)
    expected = solver.synthesis(end)[0].numpy()
    stored = data["fields"].values[1, 3]  # the solver's grid at T10 is that of the store
    assert np.abs(stored[2] - expected).max() < 1e-5 * np.abs(expected).max()
    east, north, vorticity = Store(path).state(1, 3).double()
    found, divergence = vorticity_divergence(east, north, Store(path).grid)
    assert float((found - vorticity).abs().max() / vorticity.abs().max()) < 1e-5
    assert float(divergence.abs().max() / vorticity.abs().max()) < 1e-5


def test_a_sample_of_darcy_flow_is_a_given_permeability_and_the_head_that_it_makes(
    tmp_path: Path,
) -> None:
    config = darcy()
    store = Store(generate(config, tmp_path / "a.zarr"))
    assert [(v.name, v.role) for v in store.channels] == [
        ("hydraulic_head", "diagnostic"),
        ("permeability", "forcing"),
    ]
    before, after = store.state(2, 0), store.state(2, 1)
    assert np.array_equal(before[1], after[1])
    assert not before[0].any()
    assert set(after[1].unique().tolist()) == {3.0, 12.0}
    mean = (after[0].double() * store.grid.area_weights).sum()
    assert abs(float(mean)) < 1e-6 * float(after[0].abs().max())
