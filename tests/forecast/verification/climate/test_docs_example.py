"""Example of another diagnostic in docs/climate.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from data_prep.store.reader import Store
from forecast.verification.climate.climate import climate
from forecast.verification.climate.table import DIAGNOSTICS
from tests.forecast.verification.climate.worlds import red_climate, write_forecast, write_store

DOCS = Path(__file__).parents[4] / "docs" / "climate.md"


def test_the_example_is_a_diagnostic_of_one_class_and_one_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "forecast.verification.climate.climate.DIAGNOSTICS",
        known := {"means and variance": DIAGNOSTICS["means and variance"]},
    )
    monkeypatch.setattr("forecast.verification.climate.table.DIAGNOSTICS", known)
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, str(DOCS), "exec"), {})
    store = write_store(tmp_path / "s.zarr", red_climate(0, 120))
    path = write_forecast(tmp_path / "f.nc", red_climate(1, 124)[None])
    data = climate(path, store, tmp_path / "c.nc")
    states = np.asarray(Store(store).states(0, 0, 120)).astype(np.float64)
    expected = np.abs(np.diff(states, axis=0)).mean(0)
    np.testing.assert_allclose(data.step_change.sel(source="truth"), expected, rtol=1e-12)
    assert 0.3 < data.ratio.values[data.measure.values == "step_change"].max() < 3
