"""Speed of trained forecasters against the circulation model that made their data, on one core.

    python -m benchmarks.speed.gcm PACKAGE ... --data STORE --python PYTHON [--members 1 16]
        [--runs N] [--json FILE]

A day of the circulation model jcm, at the truncation of the run and at T21, and a day of each
package, for one member and for an ensemble in a batch, alternate on one core. Values are simulated
days of one member in a second; ratios are those of the fastest runs to the run of jcm at its own
truncation. Neither writes a file. The JSON file has the operators that take most of the time of
each package, with their shares, and the speed of a matrix product on the core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.accuracy.atmosphere.scores import given_forcing, initial_state, stride_of
from benchmarks.speed.measure import Row, interleaved, report, versions
from data_prep.gcm.process import find_python, worker_environment
from data_prep.gcm.worker.settings import RunSettings
from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package

_WORKER = Path(__file__).with_name("gcm_days.py")
_COARSE = 21
_SIZE = 1024  # of the matrices whose product gives the speed of the core
_MOST_OPERATORS = 8


@contextmanager
def days_of_jcm(
    run: Path, python: str, truncation: int, month: str
) -> Iterator[Callable[[], object]]:
    """Start a process of the circulation model, and give a function that advances it by a day."""
    command = [python, str(_WORKER), str(run), str(truncation), month]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=worker_environment(run),
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        lines, answers = process.stdin, process.stdout

        def day() -> None:
            lines.write("\n")
            lines.flush()
            if answers.readline().strip() != "done":
                raise RuntimeError("the process of jcm ended; its reason is above")

        try:
            yield day
        finally:
            lines.close()


def day_of(forecaster: Forecaster, store: Store, members: int) -> Callable[[], object]:
    """Return a function that advances some states of the validation split by a day."""
    stride, hours = stride_of(forecaster, store), forecaster.time_step.hours
    assert hours is not None
    steps = round(24 / hours)
    if steps * hours != 24:
        raise ValueError(f"a day is no whole number of steps of {forecaster.time_step}")
    starts = store.split_indices("validation")[forecaster.n_history * stride :][:members]
    if len(starts) < members:
        raise ValueError(f"--members {members}; the validation split has {len(starts)} states")
    first = initial_state(forecaster, store, starts)
    given: list[torch.Tensor | None] = [None] * steps
    if forecaster.forcing_channels:
        given = [given_forcing(store, starts + n * stride) for n in range(1, steps + 1)]

    def day() -> None:
        state = first
        with torch.inference_mode():
            for forcing in given:
                state = forecaster.step(state, forcing)

    return day


def operators(day: Callable[[], object]) -> dict[str, float]:
    """Return the share of the time of a day in the operators that take most of it."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        day()
    averages = found.key_averages()
    total = sum(of.self_cpu_time_total for of in averages)
    largest = sorted(averages, key=lambda of: -of.self_cpu_time_total)[:_MOST_OPERATORS]
    return {of.key: round(of.self_cpu_time_total / total, 3) for of in largest}


def measured(args: argparse.Namespace) -> tuple[list[Row], dict[str, str]]:
    """Return the rows, and further facts."""
    run = args.data.with_name(f"{args.data.name}.run").absolute()
    own = RunSettings.read(run / "settings.json").truncation
    python, store = find_python(args.python), Store(args.data)
    month = str(store.time[store.split_indices("validation")[0]].astype("M8[M]"))
    matrix = torch.randn(_SIZE, _SIZE)
    days: dict[str, Callable[[], object]] = {"product": partial(torch.mm, matrix, matrix)}
    about: dict[str, str] = {}
    for package in args.packages:
        forecaster, name = load_package(package).eval(), str(package)
        for members in args.members:
            days[f"{name}, {members}"] = day_of(forecaster, store, members)
        about[f"operators of {name}"] = json.dumps(operators(days[f"{name}, {args.members[-1]}"]))
    with (
        days_of_jcm(run, python, own, month) as fine,
        days_of_jcm(run, python, _COARSE, month) as coarse,
    ):
        days |= {f"jcm, T{own}": fine, f"jcm, T{_COARSE}": coarse}
        times = interleaved(days, args.runs, torch.device("cpu"))
    about["GFLOP/s of a matrix product"] = f"{2e-9 * _SIZE**3 / times['product'].minimum:.1f}"
    rows, peer = [], times[f"jcm, T{own}"]
    for name, of in times.items():
        label, _, kind = name.rpartition(", ")
        if not label or kind == f"T{own}":
            continue
        n = int(kind) if kind.isdigit() else 1
        shape = f"{kind} members" if kind.isdigit() else kind
        rows.append(
            Row(
                label, shape, n / of.minimum, 1 / peer.minimum, f"jcm T{own}",
                n * peer.minimum / of.minimum, "days/s", None, n / of.median, 1 / peer.median,
            )
        )  # fmt: skip
    return rows, about


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE")
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--python", default=None, help="interpreter that has jcm")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path, help="save the rows here")
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    rows, about = measured(args)
    report(rows, "days of an atmosphere", args.json, versions("numpy", "torch") | about)


if __name__ == "__main__":
    main()
