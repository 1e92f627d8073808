"""Coastline that the package ships: a coast without the frame of a map."""

import numpy as np

from forecast.plotting.coastlines import FILE


def test_no_segment_jumps_or_is_the_frame_of_the_map() -> None:
    with np.load(FILE) as coast:
        points, length = coast["points"].astype(float), coast["length"]
    assert length.sum() == len(points)
    assert length.min() >= 2
    for line in np.split(points, np.cumsum(length)[:-1]):
        here, there = line[:-1], line[1:]
        assert np.abs(there - here).max() < 60
        assert not ((np.abs(here[:, 0]) > 179.99) & (np.abs(there[:, 0]) > 179.99)).any()
        assert (np.maximum(here[:, 1], there[:, 1]) > -85.5).all()


def test_the_coast_passes_known_capes() -> None:
    with np.load(FILE) as coast:
        points = coast["points"].astype(float)
    capes = {"Good Hope": (18.4, -34.2), "Comorin": (77.5, 8.1), "Nordkapp": (25.8, 71.1)}
    for name, cape in capes.items():
        distance = np.abs(points - cape).max(axis=1).min()
        assert distance < 1.5, f"the coast misses Cape {name} by {distance:.1f} degrees"
