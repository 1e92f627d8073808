"""Figure of forecasts of an atmosphere."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.atmosphere import forecast_figure


def result(rmse: list[float | None], acc: list[float | None]) -> dict[str, object]:
    return {"scores": {"z500": {"rmse": rmse, "acc": acc, "spread": 200.0}}}


def test_models_of_longer_steps_have_no_point_before_their_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = result([100.0, 200.0], [0.8, 0.5])["scores"]
    names = ("persistence", "damped persistence")
    file = {
        "leads_hours": [6, 24],
        "references": {name: reference for name in names},
        "runs": [result([10.0, 50.0], [1.0, 0.9]), result([None, 40.0], [None, 0.95])],
    }
    (tmp_path / "results.json").write_text(json.dumps(file))
    figures, make = [], forecast_figure.new_figure

    def kept(*size: float) -> object:
        figures.append(make(*size))
        return figures[-1]

    monkeypatch.setattr(forecast_figure, "new_figure", kept)
    words = [str(tmp_path / "results.json"), "--labels", "six hours", "a day"]
    words += ["--figure", str(tmp_path / "figure.png")]
    monkeypatch.setattr(sys, "argv", ["forecast_figure", *words])
    forecast_figure.main()
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    error, correlation = figures[0].axes
    lines = {line.get_label(): line.get_xydata() for line in error.lines}
    assert set(lines) == {"six hours", "a day", *names}
    np.testing.assert_allclose(lines["six hours"], [[0.25, 0.05], [1, 0.25]])
    np.testing.assert_allclose(lines["a day"], [[0.25, np.nan], [1, 0.2]])
    np.testing.assert_allclose(correlation.lines[1].get_ydata(), [np.nan, 0.95])
