"""Pictures of a climate file: what they show, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from forecast.plotting.climate import draw_climate, plot_climate
from forecast.verification.climate.climate import climate
from tests.forecast.verification.climate.worlds import red_climate, write_forecast, write_store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    store = write_store(folder / "store.zarr", red_climate(0, 800), time_step="1d")
    path = write_forecast(folder / "f.nc", red_climate(1, 400)[None] + 1, time_step="1d")
    return folder / "c.nc", climate(path, store, folder / "c.nc")


def test_curves_are_those_of_the_file_with_the_range_of_sampling(made):
    _, data = made
    figure = draw_climate(data, "t2m", coastlines=False)
    axes = {a.get_title(): a for a in figure.axes}
    of = data.sel(channel="t2m")
    for title, name in (
        ("Zonal mean", "zonal_mean"),
        ("Annual cycle of the area mean", "monthly_area_mean"),
    ):
        lines = [line.get_ydata() for line in axes[title].lines]
        np.testing.assert_array_equal(lines, of[name].values)
        (shade,) = (c for c in axes[title].collections if isinstance(c, PolyCollection))
        top = shade.get_paths()[0].vertices[:, 1].max()
        truth, spread = of[name].sel(source="truth"), of[f"{name}_sampling"]
        np.testing.assert_allclose(top, float((truth + 2 * spread).max()))
    assert {"Power spectrum", "Histogram", "Area mean", "Waves, 30 to 60 N"} <= axes.keys()
    bias = float(data.distance.values[(data.measure == "mean") & (data.quantity == "t2m")].item())
    assert any(t.startswith(f"Bias of the mean (rms {bias:.3g}"[:24]) for t in axes)


def test_a_folder_gets_a_picture_named_after_its_variable(made, tmp_path):
    path, _ = made
    (picture,) = plot_climate(path, tmp_path / "pictures", variables=["t2m"])
    assert picture.name == "t2m.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(FileExistsError, match="exists"):
        plot_climate(path, tmp_path / "pictures")


def test_what_cannot_be_drawn_is_refused(made, tmp_path):
    path, _ = made
    with pytest.raises(ValueError, match="no variable 'sst'; it has z500, t2m"):
        plot_climate(path, tmp_path / "p.png", variables=["sst"])
    with pytest.raises(ValueError, match="give one variable, or a folder"):
        plot_climate(path, tmp_path / "p.png", variables=["z500", "t2m"])
    with pytest.raises(ValueError, match="is not a climate file"):
        plot_climate(path.with_name("f.nc"), tmp_path / "p.png")
