"""Small pictures of all kinds, and the command that makes them the references of the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import netCDF4
from matplotlib.figure import Figure
from PIL import Image

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.plotting.animation.frames import Animation
from forecast.plotting.curves import draw_scores, draw_spectrum
from forecast.plotting.ensembles import draw_spaghetti, draw_spread
from forecast.plotting.figure import png
from forecast.plotting.hovmoeller import draw_hovmoeller
from forecast.plotting.maps import draw_map
from forecast.plotting.places import Box
from forecast.plotting.projections import PROJECTIONS, map_view
from forecast.plotting.scores.card import draw_scorecard
from forecast.plotting.scores.files import ScoresFile
from forecast.plotting.scores.ranks import draw_ranks
from forecast.plotting.scores.reliability import draw_reliability
from forecast.plotting.sections import draw_section
from forecast.plotting.selection import Selection
from forecast.plotting.series import draw_series
from tests.forecast.plotting.ensemble_files import with_members
from tests.forecast.plotting.score_files import write_comparison, write_scores
from tests.forecast.stand_in import Turning

FOLDER = Path(__file__).with_name("references")
NAMES = (
    *(f"map_{name.replace('-', '_')}" for name in PROJECTIONS),
    "map_date_line",
    "map_truth",
    "animation",
    "hovmoeller",
    "section",
    "series",
    "spaghetti",
    "spread",
    "scores",
    "scorecard",
    "ranks",
    "reliability",
    "spectrum",
)
DPI = 60
_LEVELS = ("u1000", "u850", "u500", "u250", "u100")


class Pictures:
    """Forecasts and scores of known content, and pictures of them."""

    def __init__(self, folder: Path, make_store: Callable[..., Path]) -> None:
        """Write the files.

        Args:
            folder: Empty folder.
            make_store: Function `build_store` of the tests.
        """
        self.store = make_store(folder / "s.zarr", "files", mask=True, nlat=16, nlon=32)
        levels = make_store(folder / "l.zarr", "files", channels=_LEVELS)
        run_rollout(Turning(self.store, 0.9), self.store, folder / "f.nc", n_steps=4)
        run_rollout(Turning(levels, 0.9), levels, folder / "l.nc", n_steps=2)
        _scale(folder / "l.nc")
        with_members(folder / "f.nc", folder / "e.nc", 6)
        self.single, self.levels, self.ensemble = (
            Selection.find(ForecastFile(folder / f"{name}.nc")) for name in "fle"
        )
        self.scores = ScoresFile(write_scores(folder / "scores.nc"))
        self.comparison = ScoresFile(write_comparison(folder / "comparison.nc"))

    def draw(self, name: str) -> bytes:
        """Return a picture as a PNG file."""
        if name == "animation":
            return _png(self._frame())
        return _png(Image.open(BytesIO(png(self._figure(name), DPI))).convert("RGB"))

    def _frame(self) -> Image.Image:
        animation = Animation(self.single, "t2m", map_view("orthographic"))
        *_, last = animation.frames(animation.panels(), size=(4.0, 4.0))
        return Image.fromarray(last)

    def _figure(self, name: str) -> Figure:
        small: Any = {"size": (6.0, 3.9)}
        if name.removeprefix("map_").replace("_", "-") in PROJECTIONS:
            view = map_view(name.removeprefix("map_").replace("_", "-"))
            return draw_map(self.single, "sst", 2, view, **small)
        match name:
            case "map_date_line":
                view = map_view(box=Box.parse("-40,40,120,-100"))
                return draw_map(self.single, "t2m", 3, view, **small)
            case "map_truth":
                view = map_view("north-polar", latitude_limit=40)
                return draw_map(self.single, "sst", 4, view, truth=self.store, size=(9.0, 4.2))
            case "hovmoeller":
                return draw_hovmoeller(self.single, "sst", truth=self.store, size=(10.5, 5.0))
            case "section":
                return draw_section(self.levels, "u", 1, **small)
            case "series":
                return draw_series(self.ensemble, point=(30.0, 200.0), truth=self.store, **small)
            case "spaghetti":
                return draw_spaghetti(
                    self.ensemble, "t2m", 2, map_view(), truth=self.store, **small
                )
            case "spread":
                view = map_view("south-polar")
                return draw_spread(self.ensemble, "sst", 4, view, truth=self.store, size=(9.0, 4.2))
            case "scores":
                return draw_scores(self.scores, size=(7.0, 5.0))
            case "scorecard":
                return draw_scorecard(self.comparison, size=(7.0, 4.0))
            case "ranks":
                return draw_ranks(self.scores, leads=["1d", "6d"], **small)
            case "reliability":
                return draw_reliability(self.scores, leads=["3d"], size=(6.0, 4.2))
        assert name == "spectrum"
        file = self.single.file
        return draw_spectrum(file, Store(self.store), variables=["t2m"], size=(5.0, 5.0))


def _scale(path: Path) -> None:
    """Give the fields of all levels the same size, which stores of tests reduce from 30 on."""
    with netCDF4.Dataset(path, "r+") as file:
        for i, name in enumerate(_LEVELS):
            file[name][:] = (file[name][:] - 30.0 * (i == 0)) * 10.0**i * (i + 1)


def _png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Draw all pictures into the folder of the references."""
    from tests.forecast.conftest import build_store

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Pictures(Path(folder), build_store)
        for name in NAMES:
            path = FOLDER / f"{name}.png"
            picture = Image.open(BytesIO(pictures.draw(name))).convert("RGB")
            # 256 colours make the files three times smaller, and have a similarity of 0.98.
            few = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            path.write_bytes(_png(few))
            print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
