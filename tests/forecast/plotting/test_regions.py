"""Regions, points and polar maps: where they are, and what a colour means there."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.plotting.places import Box, parse_point
from forecast.plotting.projections import map_view
from sphere_ops.grid import Grid

GRID = Grid.cell_centred(18, 36)


def test_a_box_across_the_date_line_holds_the_points_on_both_sides():
    inside = Box.parse("-30,30,170,-170").points(GRID)
    rows, columns = np.nonzero(inside)
    assert set(GRID.longitude.numpy()[columns]) == {170.0, 180.0, 190.0}
    assert set(GRID.latitude.numpy()[rows]) == {-25.0, -15.0, -5.0, 5.0, 15.0, 25.0}
    np.testing.assert_array_equal(inside, Box.parse("-30,30,170,190").points(GRID))
    assert Box.parse("-90,90,0,360").points(GRID).all()
    assert Box.parse("-90,90,-180,180").points(GRID).all()


def test_places_are_written_as_a_person_does():
    assert Box.parse("-5,5,-170,-120").label == "5°S to 5°N, 170°W to 120°W"
    assert Box.parse("0,30,170,-170").label == "0° to 30°N, 170°E to 170°W"
    assert Box.parse("-10,10,0,360").label == "10°S to 10°N"
    assert Box.named("north-atlantic").label == "North atlantic"
    assert parse_point("52.5,-13.4") == (52.5, -13.4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "not four numbers; expected lat_min,lat_max,lon_min,lon_max"),
        ("35,75,a,40", "not four numbers"),
        ("75,35,0,40", "is empty"),
        ("35,75,40,40", "is empty"),
        ("35,95,0,40", "not on the sphere"),
        ("35,nan,0,40", "not on the sphere"),
        ("0,30,-350,350", "larger than the sphere"),
    ],
)
def test_a_box_that_is_none_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Box.parse(text)


def test_a_box_between_grid_points_a_point_off_the_sphere_and_an_unknown_region_are_refused():
    with pytest.raises(ValueError, match="holds no point of the grid of 18 x 36"):
        Box.parse("1,4,1,4").points(GRID)
    for text, message in (("95,0", "not on the sphere"), ("1", "not two numbers")):
        with pytest.raises(ValueError, match=message):
            parse_point(text)
    with pytest.raises(ValueError, match=r"unknown region 'europ'; .*\(nearest: europe\)"):
        Box.named("europ")
    with pytest.raises(ValueError, match="unknown region 'extra-tropics'"):
        Box.named("extra-tropics")  # two boxes


def _latitude_and_longitude(view, pixels):
    """Return the latitude and the longitude that a map shows at each pixel, from smooth fields."""
    grid = Grid.cell_centred(60, 120)
    latitude, longitude = np.meshgrid(*np.radians([grid.latitude, np.zeros(60)]), indexing="ij")
    latitude = np.radians(grid.latitude.numpy())[:, None] + 0 * grid.longitude.numpy()
    longitude = np.radians(grid.longitude.numpy()) + 0 * latitude
    fields = (np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude),
              np.sin(latitude))  # fmt: skip
    x, y, z = (view.on_map(field, grid, pixels) for field in fields)
    return np.degrees(np.arcsin(z.clip(-1, 1))), np.degrees(np.arctan2(y, x))


@pytest.mark.parametrize(("pole", "sign"), [("north-polar", 1), ("south-polar", -1)])
def test_a_polar_map_ends_at_its_latitude_limit(pole, sign):
    latitude, _ = _latitude_and_longitude(map_view(pole, latitude_limit=40), 101)
    assert sign * latitude[50, 50] > 89
    for edge in (latitude[50, 0], latitude[50, -1], latitude[0, 50], latitude[-1, 50]):
        assert sign * edge == pytest.approx(40, abs=1)  # half a pixel
    assert np.isnan(latitude[0, 0])
    shown = map_view(pole, latitude_limit=40).shown(GRID)
    np.testing.assert_array_equal(shown.any(1), sign * GRID.latitude.numpy() > 40)


def test_a_map_of_a_box_shows_the_box_and_no_more():
    view = map_view(box=Box.parse("-40,20,150,-110"))
    latitude, longitude = _latitude_and_longitude(view, 100)
    assert latitude.min() == pytest.approx(-40, abs=1) and latitude.max() == pytest.approx(
        20, abs=1
    )
    assert longitude[0, 0] == pytest.approx(150.5, abs=0.6)
    assert longitude[0, -1] == pytest.approx(-110.5, abs=0.6)
    # A degree of longitude is as long as a degree of latitude in the middle, here at 10°S.
    assert view.ratio == pytest.approx(60 / (100 * np.cos(np.radians(10))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": "north-poler"}, r"unknown projection .*\(nearest: north-polar\)"),
        ({"projection": "x"}, "expected one of robinson, plate-carree"),
        ({"projection": "robinson", "latitude_limit": 30}, "a latitude limit is for maps"),
        ({"projection": "north-polar", "latitude_limit": 89}, "expected 0 to 85 degrees"),
        ({"projection": "orthographic", "centre": (0, 0), "box": "-10,10,170,190"}, "far side"),
    ],
)
def test_a_view_that_is_not_possible_is_refused(options, message):
    box = options.pop("box", None)
    with pytest.raises(ValueError, match=message):
        map_view(**options, box=Box.parse(box) if box else None)
