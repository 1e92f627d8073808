"""Figure of forecasts of an atmosphere: error and anomaly correlation over lead time.

    python -m benchmarks.accuracy.atmosphere.forecast_figure RESULTS ... --labels LABEL ...
        [--gcm FILE] [--channel NAME] --figure FILE

RESULTS are files of `benchmarks.accuracy.atmosphere` or of its `packages`. All their runs are
drawn, a label for each, with the references of the first file; FILE is that of `gcm_forecasts`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.records import read
from configs.style import BLUE, GREY, INK, OLIVE, RED, new_figure, picture_style

_SKILL = 0.6  # correlation that is taken as the limit of useful forecasts
_DOTTED, _DASHED = ":", "--"
_COLOURS = (BLUE, RED, OLIVE)


@picture_style()
def draw(path: Path, curves: dict[str, dict[str, Any]], leads: list[int], channel: str) -> None:
    """Draw RMSE over the spread, and ACC.

    Args:
        path: Path of the picture.
        curves: By label, scores of each channel (`scores.Scores`), with a `style` for the line.
        leads: Lead times, h.
        channel: Channel that is drawn.
    """
    figure = new_figure(9.6, 3.8)
    error, correlation = figure.subplots(1, 2)
    days = np.array(leads) / 24
    for label, curve in curves.items():
        of = curve["scores"][channel]
        # None where a model of longer steps has no forecast.
        rmse, acc = (np.array(of[name], dtype=float) for name in ("rmse", "acc"))
        error.plot(days, rmse / of["spread"], label=label, **curve["style"])
        correlation.plot(days, acc, **curve["style"])
    error.set(
        xlabel="lead time, days", ylabel=f"error of {channel} over its spread", ylim=(0, None)
    )
    correlation.set(xlabel="lead time, days", ylabel=f"anomaly correlation of {channel}")
    correlation.set_ylim(0, 1)
    correlation.axhline(_SKILL, color=GREY, linewidth=0.8)
    figure.legend(*error.get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path, dpi=80)


def main() -> None:
    """Read the results and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS")
    parser.add_argument("--labels", nargs="+", required=True)
    parser.add_argument("--gcm", type=Path)
    parser.add_argument("--channel", default="z500")
    parser.add_argument("--figure", type=Path, required=True)
    args = parser.parse_args()
    files = [read(path) for path in args.results]
    runs, leads = [run for file in files for run in file["runs"]], files[0]["leads_hours"]
    if len(args.labels) != len(runs):
        parser.error(f"{len(args.labels)} labels for {len(runs)} runs; give one for each")
    if len(runs) > len(_COLOURS) or any(file["leads_hours"] != leads for file in files):
        parser.error(f"expected at most {len(_COLOURS)} runs with the same lead times")
    curves = {
        label: {"scores": run["scores"], "style": {"color": colour, "linewidth": 2.2}}
        for label, run, colour in zip(args.labels, runs, _COLOURS, strict=False)
    }
    if args.gcm is not None:
        gcm = read(args.gcm)
        names = {"T21": ("jcm at T21", _DASHED), "twin": ("jcm, perturbed", _DOTTED)}
        for name, (label, style) in names.items():
            look = {"color": INK, "linestyle": style}
            curves[label] = {"scores": gcm[name]["scores"], "style": look}
    for name, style in (("damped persistence", _DASHED), ("persistence", _DOTTED)):
        look = {"color": GREY, "linestyle": style}
        curves[name] = {"scores": files[0]["references"][name], "style": look}
    draw(args.figure, curves, leads, args.channel)


if __name__ == "__main__":
    main()
