"""Study of ensembles on a tiny store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scoringrules
import torch

from benchmarks.accuracy.ensembles import runs as ensembles
from benchmarks.accuracy.ensembles.measure import measure
from benchmarks.accuracy.ensembles.table import ranges, table
from configs.time.calendar import GREGORIAN
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.model.forecaster import Forecaster
from tests.forecast.conftest import build_store
from tests.forecast.small_run import config


def test_scores_are_those_of_the_members_in_the_file(tmp_path: Path) -> None:
    store = Store(build_store(tmp_path / "s.zarr", n_trajectories=4))
    model = Forecaster.from_store(config().model, store)  # persistence
    times = [GREGORIAN.label(store.time[i], "m") for i in (0, 2)]
    perturbations = ["field:amplitude=0.5,length=3000km"]
    run_rollout(
        model, store.path, tmp_path / "f.nc", split="test", init_times=times, n_steps=3,
        members=3, perturbations=perturbations,
    )  # fmt: skip
    file = ForecastFile(tmp_path / "f.nc")
    scores = measure(file, store, [1, 3], lmax=6)
    std, area = store.statistics["std"][1].item(), store.grid.area_weights
    [trajectory] = store.split_indices("test")
    crps, variance, error = np.zeros(3), 0.0, 0.0
    for i, start in enumerate((0, 2)):
        members = file.ensemble(i, slice(3, 4))[:, 0, 1] / std  # (m, h, w)
        truth = store.state(int(trajectory), start + 3)[1].numpy() / std
        values = scoringrules.crps_ensemble(truth, np.moveaxis(members, 0, -1), estimator="fair")
        crps += (torch.from_numpy(values) * area).sum().item() / 2
        variance += (members.var(0, ddof=1) * area.numpy()).sum()
        error += ((members.mean(0) - truth) ** 2 * area.numpy()).sum()
    file.dataset.close()
    assert scores.crps["vorticity"][1] == pytest.approx(crps[0], rel=1e-4)
    assert scores.spread_skill["vorticity"][1] == pytest.approx((4 / 3 * variance / error) ** 0.5)
    assert len(scores.power["vorticity"]) == 5
    assert sum(scores.share["vorticity"]) == pytest.approx(1)


def a_run(variant: str, crps: list[float], power: list[float]) -> dict:
    by_channel = {
        "spread_skill": {"z": [0.9, 1.1]},
        "power": {"z": power},
        "share": {"z": [1.0, 1e-6]},
    }
    return {
        "variant": variant, "seed": 0, "mean_crps": crps, "test": by_channel, "perturbation": "",
    }  # fmt: skip


def test_the_summary_compares_the_variants_at_each_day() -> None:
    runs = [a_run("noise", [0.1, 0.2], [1.0, 0.5]), a_run("deterministic", [0.2, 0.2], [1.2, 1.0])]
    found = ensembles.summary(runs, (1, 2))
    assert found["noise_over_deterministic"] == [0.5, 1.0]
    assert found["noise"]["largest_factor_of_power"] == 2
    assert found["noise"]["largest_factor_of_power_where_share_above_0.0001"] == 1
    assert found["noise"]["spread_skill_range"] == [0.9, 1.1]


def test_the_table_has_a_column_for_each_day_and_the_ratio_of_each_seed() -> None:
    runs = [a_run("noise", [0.1, 0.2], [1.0, 1.0]), a_run("deterministic", [0.2, 0.4], [1.0, 1.0])]
    found = {"flow": "forced", "runs": runs} | ensembles.summary(runs, (1, 5))
    lines = table(found).splitlines()
    assert lines[0] == "| `forced`, day | 1 | 5 |"
    assert lines[2] == "| `deterministic`, CRPS | 0.2000 | 0.4000 |"
    assert lines[5] == "| `noise`, spread over error | 0.90 | 1.10 |"
    assert lines[6] == "| CRPS of `noise` over `deterministic` | 0.50 | 0.50 |"
    assert ranges(found)[0].endswith("CRPS of noise over this on day 5: 0.500")


@pytest.mark.slow
@pytest.mark.parametrize("flow", ensembles.FLOWS)
def test_a_study_does_what_is_missing_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flow: str
) -> None:
    plan = replace(ensembles.QUICK, flow=flow, perturbations=1)
    names = ["deterministic", "continued", "noise"]
    first = ensembles.study(plan, tmp_path, [0], names)
    written = (tmp_path / "noise-0.json").stat().st_mtime_ns
    monkeypatch.setattr(ensembles, "train", None)
    again = ensembles.study(plan, tmp_path, [0], names)
    assert again == first and (tmp_path / "noise-0.json").stat().st_mtime_ns == written
    assert json.loads((tmp_path / "summary.json").read_text())["noise"]["seeds"] == [0]
