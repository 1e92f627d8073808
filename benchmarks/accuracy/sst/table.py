"""Table in Markdown of the errors of the preset `sst` and of the linear forecasts.

    python -m benchmarks.accuracy.sst.table FILE

Ratios are of root mean square errors of the models, over all seeds of the preset without overrides,
to those of each linear forecast, on the same starts. The intervals of 95 % are by a paired
bootstrap of blocks of starts, whose length follows from the autocorrelation
(`forecast.verification.significance`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.markdown import markdown_table
from benchmarks.accuracy.records import read
from forecast.verification.significance import bootstrap

Squares = list[NDArray[np.float64]]
"""Mean square errors of each start with a truth, by lead time."""


def table(content: dict[str, Any]) -> str:
    """Return the lines of the table of a file of results."""
    plain = [r for r in content["runs"] if not r["overrides"]]
    model = mean_squares([r["squares"] for r in plain])
    head = ["months", *map(str, content["leads"])]
    seeds = ", ".join(str(r["seed"]) for r in plain)
    rows = [[f"the preset, seeds {seeds}", *map(_rmse, model)]]
    for run in content["runs"]:
        if run["overrides"]:
            name = f"{' '.join(run['overrides'])}, seed {run['seed']}"
            rows.append([name, *(f"{x:.3f}" for x in run["rmse"])])
    for name, linear in content["linear"].items():
        of = mean_squares([linear["squares"]])
        cells = [f"{_rmse(y)}; {ratio(x, y)}" for x, y in zip(model, of, strict=True)]
        rows.append([name, *cells])
    return markdown_table(head, rows)


def mean_squares(runs: Sequence[Sequence[Sequence[float | None]]]) -> Squares:
    """Return the means over runs of square errors (lead, start), without the missing starts."""
    array = np.array(runs, dtype=float).mean(0)
    return [row[np.isfinite(row)] for row in array]


def ratio(model: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Return the ratio of two root mean square errors, with an interval if there is one."""
    found = bootstrap([model, other], lambda a, b: np.sqrt(a / b))
    text, ends = f"{np.sqrt(model.mean() / other.mean()):.3f}", (found.lower, found.upper)
    known = np.isfinite(ends).all()
    return text + (f" ({float(ends[0]):.3f} to {float(ends[1]):.3f})" if known else "")


def _rmse(squares: NDArray[np.float64]) -> str:
    return f"{np.sqrt(squares.mean()):.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="results of benchmarks.accuracy.sst")
    print(table(read(parser.parse_args().file)))


if __name__ == "__main__":
    main()
