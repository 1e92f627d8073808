"""The figure of a training run: its losses over the steps."""

from __future__ import annotations

from pathlib import Path

from forecast.training.tracking.recorder import read_metrics


def draw_curves(metrics: Path, out: Path) -> None:
    """Draw the loss, and the validation errors beside those of persistence.

    Args:
        metrics: metrics file of a run.
        out: PNG to write; one that is there is replaced.
    """
    from matplotlib.figure import Figure

    records = read_metrics(metrics)
    names = {name for record in records for name in record}
    steps = sorted(
        (n for n in names if n.startswith("validation/relative_l2_step_")),
        key=lambda name: int(name.rpartition("_")[2]),
    )
    shown = {"train/loss": "training loss"}
    shown |= {name: f"validation, step {name.rpartition('_')[2]}" for name in steps}
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, label) in enumerate(shown.items()):
        points = [(r["step"], r[name]) for r in records if r.get(name) is not None]
        marker = "o" if name in steps else ""
        axes.plot(*zip(*points, strict=True), f"C{colour}-", marker=marker, label=label)
        persistence = name.replace("relative_l2", "persistence")
        values = [r[persistence] for r in records if r.get(persistence) is not None]
        if name in steps and values:
            axes.axhline(values[-1], color=f"C{colour}", linestyle=":", label="persistence")
    axes.set(xlabel="optimiser step", ylabel="relative error", yscale="log")
    axes.legend(fontsize="small")
    figure.savefig(out, dpi=120)
