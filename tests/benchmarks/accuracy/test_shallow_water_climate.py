"""Resumption of the long run of the solver's benchmark after a kill."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.accuracy.shallow_water import climate as shallow_water_climate
from benchmarks.accuracy.shallow_water.climate import _followed
from benchmarks.accuracy.shallow_water.run import Run


class Killed(Exception):
    """Exception that represents a kill during the run."""


def test_a_long_run_that_was_killed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shallow_water_climate, "_EVERY", 2)
    to, days = Run.to, []

    def killed_on_day_4(self: Run, day: float) -> None:
        if day == 4:
            raise Killed
        to(self, day)

    def noted(self: Run, day: float) -> None:
        days.append(day)
        to(self, day)

    with torch.no_grad():
        whole = _followed(Run("forced", 11), 5, tmp_path / "a.npz")
        monkeypatch.setattr(Run, "to", killed_on_day_4)
        with pytest.raises(Killed):
            _followed(Run("forced", 11), 5, tmp_path / "b.npz")
        monkeypatch.setattr(Run, "to", noted)
        again = _followed(Run("forced", 11), 5, tmp_path / "b.npz")
    assert days == [3, 4, 5]
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    assert whole[0].shape == (5, 7)
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "b.npz"}
