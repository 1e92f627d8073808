"""Scores against their definitions, over the points that model and truth share."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from xarray.backends import NetCDF4DataStore

from data_prep.store.climatology import Climatology
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.verification.evaluate import evaluate
from forecast.verification.open_truth import open_truth
from forecast.verification.score_table import SCORES
from tests.forecast.stand_in import Turning

N_STEPS = 4


@pytest.fixture
def series(make_store, tmp_path) -> Path:
    return make_store(tmp_path / "series.zarr", "files", mask=True, n_times=96)


def by_definition(fields: dict[str, np.ndarray], store: Store) -> dict[str, np.ndarray]:
    """Return scores of forecast against truth about a climatology, (c, k), from the table."""
    area = store.grid.area_weights.numpy()
    pair, climatology = (fields["forecast"], fields["truth"]), fields["climatology"]
    with np.errstate(invalid="ignore"):
        return {
            name: score(*pair, *([climatology] if score.reference else []), area).T
            for name, score in SCORES.items()
        }


def test_scores_of_forecast_and_baselines_are_those_of_the_definitions(series, tmp_path):
    run_rollout(Turning(series, 0.9), series, tmp_path / "f.nc", split="train", n_steps=N_STEPS)
    scores = evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc").sel(region="global")
    store = Store(series)
    starts = store.split_indices("train")
    truth = np.stack([store.states(int(i), 0, N_STEPS + 1).numpy() for i in starts])
    monthly = Climatology(store.statistics["climatology"].double(), store.time_step)
    times = [store.time[i : i + N_STEPS + 1] for i in starts]
    climatology = np.stack([monthly.at(t).numpy() for t in times])
    with xr.open_dataset(tmp_path / "f.nc") as file:
        forecast = np.stack([file[name].values for name in store.channel_names], 2)
    of_persistence = truth[:, :1] - climatology[:, :1] + climatology
    for name, states in (
        ("model", forecast),
        ("persistence", of_persistence),
        ("climatology", climatology),
    ):
        fields = {"forecast": states, "truth": truth, "climatology": climatology}
        expected = by_definition(fields, store)
        for score in SCORES:
            actual = scores[score].sel(forecast=name)
            # Persistence is exact at lead time 0; elsewhere float32 climatology is all there is.
            np.testing.assert_allclose(actual, expected[score], rtol=1e-6, atol=1e-12)


def every_second_lead_time(path: Path) -> None:
    """Leave out lead times, so that a forecast shares no state with the next one."""
    with xr.open_dataset(path) as file:
        left = file.load().isel(lead_time=slice(None, None, 2))
    left.to_netcdf(path)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_state_that_forecasts_share_is_read_once(series, tmp_path, monkeypatch, stride):
    run_rollout(Turning(series), series, tmp_path / "f.nc", split="train", n_steps=N_STEPS)
    if stride == 2:
        every_second_lead_time(tmp_path / "f.nc")
    read: Counter[int] = Counter()
    original = Store.states

    def counting(self, index, step, count):
        read.update(range(index + step, index + step + count))
        return original(self, index, step, count)

    monkeypatch.setattr(Store, "states", counting)
    evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc")
    assert set(read) == set(range(48 + N_STEPS))
    assert max(read.values()) == 1


def test_the_true_states_that_are_kept_do_not_grow_with_the_number_of_starts(series, tmp_path):
    run_rollout(Turning(series), series, tmp_path / "f.nc", split="train", n_steps=N_STEPS)
    with xr.open_dataset(tmp_path / "f.nc") as file:
        file.load().isel(init_time=slice(8)).to_netcdf(tmp_path / "few.nc")
    few, many = (open_truth(ForecastFile(tmp_path / name), series) for name in ("few.nc", "f.nc"))
    assert len(few.file.init_time) == 8 and len(many.file.init_time) == 48
    n_lead_times = N_STEPS + 1
    assert few.n_kept == many.n_kept <= n_lead_times + 2


def test_the_library_keeps_no_chunks_of_a_netcdf_file_that_is_read_once(series, tmp_path):
    run_rollout(Turning(series), series, tmp_path / "f.nc", split="train", n_steps=1)
    opened: list[netCDF4.Dataset] = []
    original = NetCDF4DataStore.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            NetCDF4DataStore,
            "open",
            lambda path: opened.append(found := original(path)) or found,
        )
        file = ForecastFile(tmp_path / "f.nc")
    [library] = [store.ds for store in opened]
    sizes = [variable.get_var_chunk_cache()[0] for variable in library.variables.values()]
    assert len(sizes) > len(file.channel_names) and max(sizes) <= 2**20


def with_other_mask(store: Path, out: Path) -> int:
    """Copy a store with three points fewer and two more in the first channel."""
    with xr.open_zarr(store, consolidated=False, chunks=None) as data:
        data = data.load().drop_encoding()
    lacking, having = (0, 0, slice(0, 3)), (0, 2, slice(4, 6))
    assert data.mask.values[lacking].all() and not data.mask.values[having].any()
    data.mask.values[lacking], data.mask.values[having] = 0, 1
    for name in ("fields", "climatology"):
        data[name].values[:, lacking[0], lacking[1], lacking[2]] = np.nan
        data[name].values[:, having[0], having[1], having[2]] = 7.0
    data.to_zarr(out, zarr_format=3, consolidated=False)
    return 5


def test_scores_are_over_the_points_that_model_and_truth_both_have(
    series, tmp_path, run_forecast, capsys
):
    run_rollout(Turning(series, 0.9), series, tmp_path / "f.nc", split="train", n_steps=N_STEPS)
    n_points = with_other_mask(series, tmp_path / "other.zarr")
    words = ["evaluate", tmp_path / "f.nc", "--data", tmp_path / "other.zarr"]
    assert run_forecast(*words, "--out", tmp_path / "s.nc") == 0
    said = f"not all of model, store and climatology have values: {n_points} of sst"
    assert said in capsys.readouterr().out and said in (tmp_path / "s.md").read_text()
    with xr.open_dataset(tmp_path / "f.nc") as file:
        forecast = file.sst.values.astype(np.float64)
    store, other = Store(series), Store(tmp_path / "other.zarr")
    both = (store.mask & other.mask)[0].numpy()
    truth = np.stack(
        [other.states(int(i), 0, N_STEPS + 1)[:, 0].numpy() for i in store.split_indices("train")]
    )
    area = store.grid.area_weights.numpy()
    expected = SCORES["rmse"](forecast, np.where(both, truth, np.nan), area)
    with xr.open_dataset(tmp_path / "s.nc") as scores:
        assert said in scores.attrs["notes"]
        np.testing.assert_allclose(
            scores.rmse.sel(forecast="model", channel="sst", region="global"), expected, rtol=1e-6
        )


def test_a_forecast_that_ended_inside_the_mask_has_no_score(series, tmp_path):
    model = Turning(series)
    model.fails = {0: 2}
    times = [f"2000-{month:02}" for month in range(1, 9)]
    run_rollout(model, series, tmp_path / "f.nc", init_times=times, n_steps=N_STEPS)
    scores = evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc")
    missing = scores.rmse.sel(forecast="model").isnull().all(["region", "channel"]).values
    np.testing.assert_array_equal(missing, [False] * 2 + [True] * 3)


def test_a_truth_with_holes_inside_its_mask_is_an_error(series, tmp_path):
    run_rollout(Turning(series), series, tmp_path / "f.nc", split="train", n_steps=N_STEPS)
    fields = zarr.open_group(series, mode="r+")["fields"]
    assert isinstance(fields, zarr.Array)
    fields[50, 1, 3] = np.nan
    with pytest.raises(ValueError, match="series.zarr .*t2m at 2004-03-01.* damaged"):
        evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc")
