"""Score card: variables against lead times, coloured by the difference of two forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs.layout import CHANNEL, LEAD_TIME
from configs.style import INK, MISSING, SIGNED, new_figure, numbers, picture_style
from data_prep.store.outputs import check_output
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.scores.files import ScoresFile, open_scores
from forecast.plotting.selection import choose
from forecast.verification.score_table import RMSE
from forecast.verification.scores_file import REGION
from forecast.verification.significance.intervals import LOWER, UPPER, Settings
from forecast.verification.significance.pairing import DIFFERENCE, OF_B, SIGNIFICANT, differences

Array = NDArray[np.floating[Any]]

_USUAL = (RMSE, "crps", "acc")
_MOST_COLUMNS = 12  # lead times of one score
_SMALLEST_RANGE = 1.0  # per cent; smaller differences are not blown up
_CELL = (0.42, 0.30)  # width and height, inches


def plot_scorecard(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    regions: Sequence[str] | None = None,
) -> None:
    """Draw a score card of two forecasts.

    A cell is blue where forecast A is better and red where it is worse. A triangle says that the
    difference is significant: it points up where A is better.

    Args:
        files: File of `forecast evaluate A B --data STORE --out FILE`, or the scores files of A
            and B.
        out: Picture: `.png`, `.pdf` or `.svg`.
        variables: Variables to draw, one row each; all if None.
        rows: Scores to draw, side by side; rmse, crps and acc, as far as they are there, if None.
        regions: Regions to draw, one below the other; all if None.

    Raises:
        ValueError: If the file is no comparison, or a variable, score or region is not in it.
        FileNotFoundError: If the file does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    file = _comparison(files)
    save(draw_scorecard(file, variables=variables, rows=rows, regions=regions), out)


@picture_style()
def draw_scorecard(
    file: ScoresFile,
    *,
    variables: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    regions: Sequence[str] | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_scorecard`; `size` is its width and height, inches."""
    if not file.is_comparison:
        raise ValueError(
            f"{file.path} compares no forecasts; make a file that does with `forecast evaluate "
            "A B --data STORE --out FILE`"
        )
    known = [name for name in _compared(file) if _sign(file, name)]
    scores = choose("compared score", known, rows, file.path)
    scores = scores or [name for name in _USUAL if name in known] or known[:2]
    channels = choose("variable", file.channels, variables, file.path) or file.channels
    chosen = choose("region", file.regions, regions, file.path) or file.regions
    positions = _columns(file, scores)
    labels = [file.lead_label(int(p)) for p in positions]
    blocks = [
        [_block(file, score, region, channels, positions) for score in scores] for region in chosen
    ]
    relative = all(block.relative for row in blocks for block in row)
    values = np.concatenate(
        [block.gain[np.isfinite(block.gain)] for row in blocks for block in row]
    )
    limit = max(float(np.percentile(np.abs(values), 95)) if len(values) else 0.0, _SMALLEST_RANGE)
    width = 1.4 + len(scores) * (len(labels) * _CELL[0] + 0.3)
    height = 2.2 + len(chosen) * (len(channels) * _CELL[1] + 0.35)
    figure = new_figure(*(size or (max(width, 5.0), height)))
    panels = figure.subplots(len(chosen), len(scores), squeeze=False, sharex=True, sharey=True)
    norm, long = Normalize(-limit, limit), max(map(len, labels)) > 4
    for line, row, region in zip(panels, blocks, chosen, strict=True):
        for axes, block in zip(line, row, strict=True):
            _draw(axes, block, norm)
            axes.set_yticks(range(len(channels)), channels)
            axes.set_xticks(range(len(labels)), labels, rotation=90 if long else 0)
            axes.label_outer()
        if len(chosen) > 1:
            line[0].set_title(region, loc="left", fontsize="medium", fontstyle="italic")
    for axes, score in zip(panels[0], scores, strict=True):
        axes.set_title(score)
    bar = figure.colorbar(
        ScalarMappable(norm, colormaps[SIGNED.colours].reversed()),
        ax=list(panels.flat),
        location="bottom",
        extend="both" if len(values) and np.abs(values).max() > limit else "neither",
        label=f"A better than B by [{'%' if relative else 'half-widths of the interval'}]",
        format=numbers(0),
        aspect=40,
        shrink=0.8,
    )
    bar.outline.set_linewidth(0.5)
    title = (
        f"A: {file.data.attrs.get('forecast_a', 'A')},  B: {file.data.attrs.get('forecast_b', 'B')}"
    )
    marks = "▲ A significantly better, ▼ worse"
    figure.suptitle(f"{title}\n{marks}")
    return figure


def _comparison(files: Sequence[str | Path]) -> ScoresFile:
    """Open a comparison, or compare two scores files.

    Raises:
        ValueError: If these are neither one file nor two, or the scores have nothing in common.
    """
    if not 1 <= len(files) <= 2:
        raise ValueError(f"a score card of {len(files)} files; expected a comparison or two scores")
    if len(files) == 1:
        return ScoresFile(files[0])
    of_a, of_b = (ScoresFile(path).path for path in files)
    with open_scores(of_a) as a, open_scores(of_b) as b:
        found = differences(a, b, (str(of_a), str(of_b)), Settings())
    return ScoresFile.of_dataset(found, of_a)


@dataclass(frozen=True)
class _Block:
    """Cells of one score and region.

    Attributes:
        gain: Amount by which A is better, (variable, lead time).
        significant: True where it is significant.
        relative: True if the amount is in per cent of the score of B, False if in half-widths of
            the interval of the difference.
    """

    gain: Array
    significant: NDArray[np.bool_]
    relative: bool


def _compared(file: ScoresFile) -> list[str]:
    """Return the names of the scores that the file compares."""
    names = map(str, file.data.data_vars)
    return [name.removesuffix(DIFFERENCE) for name in names if name.endswith(DIFFERENCE)]


def _sign(file: ScoresFile, score: str) -> int:
    """Return 1 if larger values are better, −1 if smaller ones are, and 0 if neither holds."""
    return {"highest": 1, "lowest": -1}.get(file.meaning(score).best or "", 0)


def _columns(file: ScoresFile, scores: Sequence[str]) -> NDArray[np.int64]:
    """Return the positions of the lead times with differences, at most twelve."""
    differences = [file.data[score + DIFFERENCE] for score in scores]
    others = [d.isnull().all([dim for dim in d.dims if dim != LEAD_TIME]) for d in differences]
    known = np.flatnonzero(~np.all([o.values for o in others], axis=0) & (file.steps > 0))
    if not len(known):
        raise ValueError(f"{file.path} has no lead time with a difference of {', '.join(scores)}")
    n = min(len(known), _MOST_COLUMNS)
    return known[np.unique(np.linspace(0, len(known) - 1, n).round().astype(int))]


def _block(
    file: ScoresFile,
    score: str,
    region: str,
    channels: Sequence[str],
    positions: NDArray[np.int64],
) -> _Block:
    """Read the cells of one score and region."""
    data = file.data.sel({REGION: region, CHANNEL: list(channels)}).isel({LEAD_TIME: positions})
    dims = (CHANNEL, LEAD_TIME)

    def values(name: str) -> Array:
        return np.asarray(data[name].transpose(*dims).values, dtype=np.float64)

    difference = values(score + DIFFERENCE)
    gain, significant = _sign(file, score) * difference, np.zeros(difference.shape, dtype=bool)
    if score + SIGNIFICANT in data:
        significant = values(score + SIGNIFICANT) > 0
    relative = score + OF_B in data
    if relative:
        scale = np.abs(values(score + OF_B)) / 100
    elif score + DIFFERENCE + LOWER in data:
        scale = (values(score + DIFFERENCE + UPPER) - values(score + DIFFERENCE + LOWER)) / 2
    else:
        scale = np.ones_like(gain)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _Block(np.where(scale > 0, gain / scale, np.nan), significant, relative)


def _draw(axes: Axes, block: _Block, norm: Normalize) -> None:
    """Draw cells, and triangles where the difference is significant."""
    axes.set_facecolor(MISSING)
    n_rows, n_columns = block.gain.shape
    edges = np.arange(n_columns + 1) - 0.5, np.arange(n_rows + 1) - 0.5
    colours = colormaps[SIGNED.colours].reversed()
    cells = np.ma.masked_invalid(block.gain)
    axes.pcolormesh(*edges, cells, cmap=colours, norm=norm, edgecolors="white", linewidth=1)
    axes.set_ylim(n_rows - 0.5, -0.5)
    for better, marker in ((True, "^"), (False, "v")):
        y, x = np.nonzero(block.significant & ((block.gain > 0) == better))
        axes.scatter(x, y, s=22, color=INK, marker=marker, edgecolors="white", linewidths=0.6)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
