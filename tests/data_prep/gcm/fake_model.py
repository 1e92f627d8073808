"""Circulation model of the tests: a rotating wave and noise, whose state depends on all days."""

import sys
from pathlib import Path

import numpy as np

from data_prep.gcm.worker.run import run
from data_prep.gcm.worker.segments import Segment
from data_prep.gcm.worker.settings import RunSettings

NLAT, NLON = 32, 64


class FakeModel:
    """The interface of a circulation model, without one."""

    source = "fake 1.0"
    units = {
        "u": "m s-1", "v": "m s-1", "t": "K", "q": "kg kg-1", "z": "m2 s-2", "sp": "Pa",
        "t2m": "K", "u10": "m s-1", "v10": "m s-1", "skt": "K", "sst": "K",
        "total_precipitation": "m", "rlut": "W m-2", "orography": "m", "land_fraction": "1",
    }  # fmt: skip

    def __init__(self, steps: int = 4) -> None:
        self.steps = np.arange(1, steps + 1)[:, None, None]
        self.sigma = np.array([0.025, 0.2, 0.5, 0.95])
        self.latitude = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(NLAT)[0]))
        self.longitude = np.arange(NLON) * 360 / NLON
        wave = np.cos(np.deg2rad(self.longitude)) * np.cos(np.deg2rad(self.latitude))[:, None]
        self.wave = wave
        self.static = {"orography": 1000 * np.clip(wave, 0, 1), "land_fraction": 1.0 * (wave > 0.5)}
        self.month = ""

    def start(self, day: np.datetime64) -> np.ndarray:
        return np.array([0.0, float(day.astype(int))])

    def begin(self, segment: Segment) -> None:
        self.month = segment.name

    def advance_day(self, state: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        phase, day = state
        phases = phase + np.sin(day) * self.steps / len(self.steps) * 4
        single = 5 * np.sin(phases + self.wave)
        levels = single[:, None] + np.arange(4)[:, None, None]
        pressure = 1e5 + 100 * single
        fields = {
            "u": levels, "v": -levels, "t": 250 + levels, "q": 1e-3 + 1e-5 * levels,
            "z": 1e4 * np.arange(4, 0, -1)[:, None, None] + levels, "sp": pressure,
            "t2m": 280 + single, "u10": single, "v10": -single, "skt": 281 + single,
            "rlut": 230 + single, "total_precipitation": 1e-3 * np.abs(single),
            "sst": np.where(self.wave > 0.5, np.nan, 290 + single),
        }  # fmt: skip
        return np.array([phases[-1, 0, 0], day + 1]), fields

    def arrays(self, state: np.ndarray) -> list[np.ndarray]:
        return [state]

    def state(self, arrays: list[np.ndarray]) -> np.ndarray:
        return arrays[0]


def fake_python(folder: Path) -> Path:
    """Write an interpreter that says to have jcm, and runs this model in its place."""
    script = folder / "python"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && echo 3.0.7 && exit\nshift 2\nexec {sys.executable} '
        f'{__file__} "$@" $FAILS_ON\n'
    )
    script.chmod(0o755)
    return script


if __name__ == "__main__":
    # As the worker, but for the model: `SETTINGS FOLDER [DAY]`, which fails on that day.
    failing = sys.argv[3] if len(sys.argv) > 3 else ""

    def report(done: int, total: int, day: str) -> None:
        print(done, total, day, flush=True)
        if day == failing:
            raise FloatingPointError(f"t is not finite on {day}: the model became unstable")

    settings = RunSettings.read(Path(sys.argv[1]))
    run(FakeModel(86400 // settings.step_seconds), settings, Path(sys.argv[2]), report)
