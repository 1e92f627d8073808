"""Training runs side by side: what they were given, and how good they became."""

from __future__ import annotations

from collections.abc import Sequence

from forecast.training.tracking.mlflow_tracker import RunSummary

_SHOWN = "validation/"
_LONGEST = 40


def compare(runs: Sequence[RunSummary]) -> str:
    """A table of the settings in which runs differ, and of their validation errors.

    Args:
        runs: a column each.
    """
    names = sorted({name for run in runs for name in run.parameters})
    rows = {name: [run.parameters.get(name, "") for run in runs] for name in names}
    rows = {name: values for name, values in rows.items() if len(set(values)) > 1}
    errors = sorted({n for run in runs for n in run.metrics if n.startswith(_SHOWN)})
    for name in errors:
        values = (run.metrics.get(name) for run in runs)
        rows[name] = ["" if v is None else f"{v:.4g}" for v in values]
    head = [["", *(run.name for run in runs)], ["status", *(run.status for run in runs)]]
    lines = head + [[name, *values] for name, values in rows.items()]
    lines = [[cell[:_LONGEST] for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(runs) + 1)]
    return "\n".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def find_runs(runs: Sequence[RunSummary], names: Sequence[str]) -> list[RunSummary]:
    """The newest run of each name, or the one whose id begins so.

    Raises:
        ValueError: if there is none.
    """
    found = []
    for name in names:
        matching = [run for run in runs if run.name == name or run.run_id.startswith(name)]
        if not matching:
            known = ", ".join(dict.fromkeys(run.name for run in runs)) or "none"
            raise ValueError(f"no run {name!r}; there are {known}")
        found.append(matching[0])
    return found
