"""The figure of a training run: its losses over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_prep.store.outputs import written_beside
from forecast.training.tracking.recorder import read_metrics

_VALIDATION, _PERSISTENCE = "validation/relative_l2_step_", "validation/persistence_step_"


def draw_curves(metrics: Path, out: Path) -> None:
    """Draw the training loss, and below it the validation errors beside those of persistence.

    Args:
        metrics: metrics file of a run.
        out: PNG to write; one that is there is replaced.
    """
    from configs.style import new_figure, picture_style

    records = read_metrics(metrics)
    steps = sorted(
        {int(n.rpartition("_")[2]) for r in records for n in r if n.startswith(_VALIDATION)}
    )
    with picture_style():
        figure = new_figure(6, 5.6 if steps else 3.2)
        panels = figure.subplots(2 if steps else 1, sharex=True, squeeze=False)[:, 0]
        panels[0].plot(*_course(records, "train/loss"))
        panels[0].set_ylabel("training loss")
        if steps:
            _draw_errors(panels[1], records, steps)
        panels[-1].set_xlabel("optimiser step")
        for axes in panels:
            _scale(axes)
        with written_beside(out, replace=True) as scratch:
            figure.savefig(scratch, format="png")


def _draw_errors(axes: Any, records: list[dict[str, Any]], steps: list[int]) -> None:
    """Relative errors after some forecast steps, and of persistence in the same colour."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    from configs.style import INK, SEQUENCE

    handles, beside_persistence = [], False
    for i, step in enumerate(steps):
        colour = colormaps[SEQUENCE](0.15 + 0.6 * i / max(1, len(steps) - 1))
        label = f"after {step} step{'s' * (step > 1)}"
        handles += axes.plot(
            *_course(records, f"{_VALIDATION}{step}"), color=colour, marker="o", label=label
        )
        _, persistence = _course(records, f"{_PERSISTENCE}{step}")
        if persistence:
            beside_persistence = True
            axes.axhline(persistence[-1], color=colour, linestyle="--")
    if beside_persistence:
        handles.append(Line2D([], [], color=INK, linestyle="--", label="persistence"))
    axes.set_ylabel("validation, relative error")
    axes.legend(handles=handles)


def _course(records: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps at which a metric was recorded, and its values."""
    known = [r for r in records if r.get(name) is not None]
    return [r["step"] for r in known], [r[name] for r in known]


def _scale(axes: Any) -> None:
    """Make the axis logarithmic where the curves span more than a factor of five."""
    from configs.style import plain_log_ticks

    low, high = axes.dataLim.intervaly
    if high > 5 * low > 0:
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
