"""Settings of a run, as the worker gets them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunSettings:
    """Run of a circulation model.

    Attributes:
        model: Name of the model.
        truncation: Triangular truncation, such as 31.
        levels: Number of model levels.
        solver_seconds: Time step of the model, s.
        step_seconds: Interval of the states that are written, s.
        first: Date of the first state, such as 2001-01-01, which is valid at 00:00.
        last: Date of the last states.
        spin_up_days: Days from rest before the first state.
        pressures: Pressure levels, hPa.
        sst_modes: Number of modes of the sea surface temperature that vary from year to year.
        sst_amplitude: Amplitude of the modes over the observed one.
        member: Number of the run; 0 starts unperturbed.
        perturbation: Size of the perturbation of the temperature at the start, K.
        seed: Seed of the sea surface temperature and of the perturbation.
        since: Date of the first states that are written; empty for `first`.
    """

    model: str
    truncation: int
    levels: int
    solver_seconds: int
    step_seconds: int
    first: str
    last: str
    spin_up_days: int
    pressures: tuple[int, ...]
    sst_modes: int
    sst_amplitude: float
    member: int
    perturbation: float
    seed: int
    since: str = ""

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> RunSettings:
        """Read the settings from a JSON file."""
        tree = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**tree, "pressures": tuple(tree["pressures"])})
