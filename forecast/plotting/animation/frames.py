"""Animation of a forecast on a map, with the truth beside it if given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.style import new_figure, picture_style
from forecast.inference.reader import ForecastFile
from forecast.plotting.animation.movie import Frame, check_movie, write_movie
from forecast.plotting.maps import draw_panels, earth, map_name, map_size, map_weights
from forecast.plotting.panels import Panel, make_panels
from forecast.plotting.places import Box
from forecast.plotting.projections import MapView, map_view
from forecast.plotting.selection import Selection, TrueFields, check_anomaly, fields_at

Array = NDArray[np.floating[Any]]
Progress = Callable[[int, int], None]

DPI = 100
_SAMPLED = 16  # lead times whose values set the limits of the colours
_PIXELS = 600


def plot_animation(
    forecast: str | Path,
    variable: str,
    out: str | Path,
    *,
    fps: float = 8.0,
    every: int = 1,
    init: str | int | None = None,
    member: int | None = None,
    projection: str | None = None,
    truth: str | Path | None = None,
    anomaly: bool = False,
    centre: tuple[float, float] | None = None,
    box: Box | None = None,
    latitude_limit: float | None = None,
    limits: tuple[float, float] | None = None,
    coastlines: bool | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write an animation of one variable over all lead times.

    The limits of the colours are the same in all frames. One frame is in memory at a time.

    Args:
        forecast: Forecast file.
        variable: Short name of the variable.
        out: Animation: `.gif`, or `.mp4`, which needs the program ffmpeg.
        fps: Frames per second.
        every: Interval of the lead times that are drawn.
        init: Start of the forecast, as in `plot_map`.
        member: Number of a member; None for the mean over the members.
        projection: Map projection, as in `plot_map`.
        truth: Store with the truth, drawn beside the forecast as far as it goes.
        anomaly: True to draw departures from the climatology of the store, or from its mean.
        centre: Middle of the map, as in `plot_map`.
        box: Region to show.
        latitude_limit: Distance from the equator of the edge of a polar map, degrees.
        limits: Limits of the colours; from the fields if None.
        coastlines: True to draw coastlines, as in `plot_map`.
        progress: Function that is called with (done, total) after each frame.

    Raises:
        ValueError: If variable, start or member are not in the file, the view is not possible,
            file and store do not fit, or ffmpeg is missing.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
        OSError: If the output cannot be written.
    """
    check_movie(out, fps)
    if every < 1:
        raise ValueError(f"every {every}th lead time; expected 1 or more")
    view = map_view(projection, centre=centre, box=box, latitude_limit=latitude_limit)
    file = ForecastFile(forecast)
    selection = Selection.find(file, init, member)
    animation = Animation(
        selection, file.check_variable(variable), view, truth=truth, anomaly=anomaly, every=every
    )
    panels = animation.panels(limits)
    frames = animation.frames(panels, coastlines=coastlines, progress=progress)
    write_movie(out, frames, fps, panels[0].style.colours)


class Animation:
    """Fields of an animation at its lead times.

    Attributes:
        selection: Forecast of an open file.
        variable: Short name of the variable.
        view: Projection and region.
        positions: Positions of the lead times that are drawn.
    """

    def __init__(
        self,
        selection: Selection,
        variable: str,
        view: MapView,
        *,
        truth: str | Path | None = None,
        anomaly: bool = False,
        every: int = 1,
    ) -> None:
        """Find the lead times; see `plot_animation` for the arguments and errors."""
        check_anomaly(anomaly, truth)
        self.selection, self.variable, self.view = selection, variable, view
        self._anomaly, self._true = anomaly, None
        positions = np.arange(0, selection.n_alive, every)
        if truth is not None:
            self._true = TrueFields.open(selection, truth, variable)
            positions = positions[np.isin(positions, self._true.known)]
        self.positions = [int(p) for p in positions]

    def fields(self, position: int) -> dict[str, Array]:
        """Read forecast and truth (nlat, nlon) at a lead time."""
        return fields_at(self.selection, self.variable, position, self._true, self._anomaly)

    def panels(self, limits: tuple[float, float] | None = None) -> list[Panel]:
        """Return the panels at the first lead time, with limits that suit all of them."""
        file = self.selection.file
        n = min(len(self.positions), _SAMPLED)
        at = np.linspace(0, len(self.positions) - 1, n).round().astype(int)
        sampled = [self.fields(self.positions[i]) for i in at]
        panels = make_panels(
            file,
            self.variable,
            {title: np.concatenate([f[title] for f in sampled]) for title in sampled[0]},
            weights=np.tile(map_weights(self.view, file.grid), (n, 1)),
            anomaly=self._anomaly,
            limits=limits,
        )
        # The error, which `make_panels` adds, has no frame.
        return [
            replace(panel, field=sampled[0][panel.title]) for panel in panels[: len(sampled[0])]
        ]

    def frames(
        self,
        panels: Sequence[Panel],
        *,
        coastlines: bool | None = None,
        size: tuple[float, float] | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Iterator[Frame]:
        """Draw one frame after the other.

        Args:
            panels: Panels at the first lead time.
            coastlines: See `plot_animation`.
            size: Width and height, inches; from the view if None.
            progress: See `plot_animation`.

        Yields:
            Frames (height, width, 3).
        """
        file, n = self.selection.file, len(self.positions)
        name = map_name(file, self.variable, self.view, self._anomaly)
        with picture_style():
            figure = new_figure(*(size or map_size(self.view, len(panels))))
            figure.set_dpi(DPI)
            lines = earth(self.selection, coastlines)
            axes = draw_panels(figure, panels, self.view, file.grid, lines, pixels=_PIXELS)
        images = {panel.title: a.images[0] for panel, a in zip(panels, axes, strict=True)}
        for done, position in enumerate(self.positions, 1):
            for title, field in self.fields(position).items() if done > 1 else ():
                images[title].set_data(self.view.on_map(field, file.grid, _PIXELS))
            with picture_style():
                figure.suptitle(self.selection.title(name, position))
                figure.canvas.draw()
            figure.set_layout_engine("none")  # so that no frame moves the maps
            yield np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
            progress(done, n)
