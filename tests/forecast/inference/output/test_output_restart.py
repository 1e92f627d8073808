"""Statistics of periods, reports and other layouts after an interruption: as without one."""

from __future__ import annotations

import pytest

from forecast.inference.forecast import run_rollout
from forecast.inference.output import weatherbench2
from forecast.inference.output.options import OutputOptions
from forecast.inference.output.plausible import Implausible
from tests.forecast.inference.test_restart import assert_same, failing_after, save_often
from tests.forecast.stand_in import Turning


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    """Return a series of six-hourly states."""
    path = tmp_path_factory.mktemp("restart") / "store.zarr"
    return make_store(path, "files", channels=("t2m", "msl"), time_step="6h", n_times=40)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a state after every step."""
    save_often(monkeypatch.setattr)


@pytest.mark.parametrize(("suffix", "n_calls"), [("nc", 4), ("zarr", 13)])
def test_statistics_go_on_after_an_interruption(store, tmp_path, suffix, n_calls):
    settings = {
        "init_times": ["2000-01-02T00", "2000-01-02T12", "2000-01-04"],
        "n_steps": 9, "every": 4, "batch_size": 2, "output": OutputOptions(mean="1d"),
    }  # fmt: skip
    path, whole = tmp_path / f"f.{suffix}", tmp_path / f"whole.{suffix}"
    run_rollout(Turning(store), store, whole, **settings)
    broken = failing_after(n_calls, KeyboardInterrupt(), Turning, "step")
    with broken, pytest.raises(KeyboardInterrupt):
        run_rollout(Turning(store), store, path, **settings)
    run_rollout(Turning(store), store, path, restart=True, **settings)
    assert_same(path, whole)


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_another_layout_is_copied_after_an_interruption(store, tmp_path, suffix):
    options = OutputOptions(layout="weatherbench2")
    settings = {"init_times": ["2000-01-02T00", "2000-01-04"], "n_steps": 4, "output": options}
    path, whole = tmp_path / f"f.{suffix}", tmp_path / f"whole.{suffix}"
    run_rollout(Turning(store), store, whole, **settings)
    broken = failing_after(2, OSError("no space"), weatherbench2, "_values")
    with broken, pytest.raises(OSError, match="no space"):
        run_rollout(Turning(store), store, path, **settings)
    run_rollout(Turning(store), store, path, restart=True, **settings)
    assert_same(path, whole)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, whole.name}


def test_a_report_is_kept_and_not_made_twice(store, tmp_path):
    growing = Turning(store, 1.6)
    settings = {"init_times": ["2000-01-02T00"], "n_steps": 9}
    expected = run_rollout(growing, store, tmp_path / "whole.nc", **settings)
    assert [type(report) for report in expected] == [Implausible]
    broken = failing_after(8, KeyboardInterrupt(), Turning, "step")
    with broken, pytest.raises(KeyboardInterrupt):
        run_rollout(growing, store, tmp_path / "f.nc", **settings)
    assert run_rollout(growing, store, tmp_path / "f.nc", restart=True, **settings) == expected
