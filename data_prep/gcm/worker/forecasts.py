"""Forecasts by the circulation model itself, from the restarts of a run.

python -m data_prep.gcm.worker.forecasts RUN OUT TRUNCATION DAYS PERTURBATION MONTH...
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.gcm.worker.jcm_model import JcmModel
from data_prep.gcm.worker.run import RESTARTS, write_segment
from data_prep.gcm.worker.segments import Segment
from data_prep.gcm.worker.settings import RunSettings


def forecasts(
    run: Path, out: Path, truncation: int, days: int, perturbation: float, months: list[str]
) -> None:
    """Write a file for each start, `OUT/MONTH.nc`, whose first state is one step after the start.

    Args:
        run: Folder of a run with its restarts.
        out: Folder to write.
        truncation: Truncation of the forecasts, at most that of the run.
        days: Length of a forecast.
        perturbation: Size of a perturbation of the temperature of each start, K; 0 for none.
        months: Names of restarts, such as 2003-07: the state one step before that month.
    """
    out.mkdir(parents=True, exist_ok=True)
    settings = RunSettings.read(run / "settings.json")
    model = JcmModel(replace(settings, truncation=truncation))
    for number, month in enumerate(months):
        path = out / f"{month}.nc"
        if path.exists():
            continue
        with np.load(run / RESTARTS / f"{month}.npz") as file:
            arrays = [file[f"a{i:04d}"] for i in range(len(file.files))]
        state = model.truncated(arrays) if truncation < settings.truncation else model.state(arrays)
        if perturbation:
            state = model.perturbed(state, perturbation, number)
        first = np.datetime64(month, "D")
        part = Segment(first, first + days, kept=True)
        began = time.monotonic()
        write_segment(model, settings, part, state, path)
        print(month, f"{time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    forecasts(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]),
              float(sys.argv[5]), sys.argv[6:])  # fmt: skip
