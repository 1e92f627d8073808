"""Pictures look as their references do, by structural similarity.

After a change that is meant, look at the new pictures and make them the references with

    python -m tests.forecast.plotting.reference_pictures
"""

from __future__ import annotations

import socket
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from forecast.plotting.figure import png
from forecast.plotting.maps import draw_map
from forecast.plotting.projections import map_view
from tests.forecast.plotting.reference_pictures import DPI, FOLDER, NAMES, Pictures

COMMAND = "python -m tests.forecast.plotting.reference_pictures"
LEAST = 0.95
"""Least similarity. References have 256 colours, which costs 0.02 at most, and another build of
matplotlib or FreeType, by which lines and letters move by fractions of a pixel, costs as little:
matplotlib brings its own fonts. A picture that is wrong or moved by one pixel has less than 0.91
(see the last tests)."""


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean structural similarity of two pictures (Wang et al. 2004, eq. 13).

    Means and covariances are those of windows of 7 × 7 pixels, and the constants those of the paper
    for values in [0, 1].
    """
    from scipy.ndimage import uniform_filter

    if a.shape != b.shape:
        return 0.0
    window = (7, 7, 1)
    mean_a, mean_b = uniform_filter(a, window), uniform_filter(b, window)
    of_a = uniform_filter(a * a, window) - mean_a**2
    of_b = uniform_filter(b * b, window) - mean_b**2
    of_both = uniform_filter(a * b, window) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    numerator = (2 * mean_a * mean_b + c1) * (2 * of_both + c2)
    return float((numerator / ((mean_a**2 + mean_b**2 + c1) * (of_a + of_b + c2))).mean())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, make_store) -> Pictures:
    return Pictures(tmp_path_factory.mktemp("pictures"), make_store)


@pytest.fixture(autouse=True)
def _no_network_and_no_home(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("a picture must not need a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CARTOPY_DATA_DIR", raising=False)


def _read(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")) / 255


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_looks_as_its_reference(pictures, tmp_path, name):
    path = tmp_path / f"{name}.png"
    path.write_bytes(pictures.draw(name))
    reference = FOLDER / f"{name}.png"
    assert reference.is_file(), f"no reference {reference}; make it with `{COMMAND}`"
    found = similarity(_read(path), _read(reference))
    assert found > LEAST, (
        f"{path} differs from {reference} (similarity {found:.3f}); look at both, and if the "
        f"change is meant, run `{COMMAND}`"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_moved_or_inverted_picture_does_not_look_as_its_reference(name):
    reference = _read(FOLDER / f"{name}.png")
    assert similarity(reference, reference) == pytest.approx(1.0)
    assert similarity(np.roll(reference, 1, 1), reference) < LEAST
    assert similarity(reference[:, ::-1], reference) < LEAST
    assert similarity(reference[:, 1:], reference) < LEAST


def test_a_wrong_map_does_not_look_as_its_reference(pictures):
    reference = _read(FOLDER / "map_robinson.png")
    view, size = map_view("robinson"), (6.0, 3.9)
    figures = {
        "right": draw_map(pictures.single, "sst", 2, view, size=size),
        "without coastlines": draw_map(
            pictures.single, "sst", 2, view, size=size, coastlines=False
        ),
        "lead time": draw_map(pictures.single, "sst", 3, view, size=size),
        "limits": draw_map(pictures.single, "sst", 2, view, size=size, limits=(27.0, 33.0)),
    }
    found = {
        name: similarity(_read(BytesIO(png(figure, DPI))), reference)
        for name, figure in figures.items()
    }
    assert found.pop("right") > LEAST
    assert max(found.values()) < LEAST, found


def test_references_are_small():
    sizes = {path.name: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert set(sizes) == {f"{name}.png" for name in NAMES}
    assert sum(sizes.values()) < 600e3
