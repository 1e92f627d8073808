r"""Make the coastline that the package ships, from the npm package `world-atlas`.

    npm pack world-atlas && tar xzf world-atlas-*.tgz
    python docs/make_coastlines.py package/land-110m.json \
        forecast/plotting/coastlines/coastline_110m.npz

The file is TopoJSON of Natural Earth's land at 1:110 m (public domain). Its arcs are the coast, and
also the frame of the map: the date line through Russia and Antarctica, and the South Pole.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_FRAME_LONGITUDE = 180.0 - 1e-3
_FRAME_LATITUDE = -85.5


def arcs(topology: dict[str, Any]) -> list[Points]:
    """Decode the arcs: each is quantised steps from its first point.

    Args:
        topology: a parsed TopoJSON file with a transform.

    Returns:
        One array (n, 2) of longitude and latitude in degrees for each arc.
    """
    scale, translate = (np.array(topology["transform"][key]) for key in ("scale", "translate"))
    return [np.cumsum(np.array(arc), axis=0) * scale + translate for arc in topology["arcs"]]


def without_frame(points: Points) -> list[Points]:
    """Cut a polyline where it jumps over the date line, and drop what is the frame of the map.

    Args:
        points: longitude and latitude in degrees, (n, 2).

    Returns:
        The pieces that are coast, each of two points at least.
    """
    here, there = points[:-1], points[1:]
    jump = np.abs(there[:, 0] - here[:, 0]) > 180
    on_date_line = np.minimum(np.abs(here[:, 0]), np.abs(there[:, 0])) >= _FRAME_LONGITUDE
    at_the_pole = np.maximum(here[:, 1], there[:, 1]) < _FRAME_LATITUDE
    cuts = np.flatnonzero(jump | on_date_line | at_the_pole) + 1
    return [piece for piece in np.split(points, cuts) if len(piece) > 1]


def main() -> None:
    """Read the TopoJSON file and write points and lengths of the polylines."""
    parser = argparse.ArgumentParser(description="Make the coastline that the package ships.")
    parser.add_argument("topojson", type=Path)
    parser.add_argument("npz", type=Path)
    arguments = parser.parse_args()
    topology = json.loads(arguments.topojson.read_text())
    pieces = [piece for arc in arcs(topology) for piece in without_frame(arc)]
    np.savez_compressed(
        arguments.npz,
        points=np.concatenate(pieces).astype(np.float32),
        length=np.array([len(piece) for piece in pieces], dtype=np.int32),
    )
    print(f"{len(pieces)} polylines, {sum(map(len, pieces))} points in {arguments.npz}")


if __name__ == "__main__":
    main()
