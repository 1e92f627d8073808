"""Days of the circulation model, one for each line of stdin, for `benchmarks.speed.gcm`.

    python gcm_days.py RUN TRUNCATION MONTH

It runs in the environment of the model, with the modules of its worker on the path.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.gcm.worker.jcm_model import JcmModel
from data_prep.gcm.worker.run import RESTARTS
from data_prep.gcm.worker.segments import Segment
from data_prep.gcm.worker.settings import RunSettings

_DAYS = 28  # for which the model has sea surface temperatures


def main() -> None:
    """Answer each line with the line `done`, after a day; the first day compiles."""
    run, truncation, month = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    settings = RunSettings.read(run / "settings.json")
    model = JcmModel(replace(settings, truncation=truncation))
    with np.load(run / RESTARTS / f"{month}.npz") as file:
        arrays = [file[f"a{i:04d}"] for i in range(len(file.files))]
    start = model.truncated(arrays) if truncation < settings.truncation else model.state(arrays)
    first = np.datetime64(month, "D")
    state = start
    for n, _ in enumerate(sys.stdin):
        if n % _DAYS == 0:
            model.begin(Segment(first, first + _DAYS, kept=True))
            state = start
        state, _ = model.advance_day(state)
        print("done", flush=True)


if __name__ == "__main__":
    main()
