"""Natural Earth coastline at 1:110 m (public domain), so that maps need no network.

`FILE` holds `points`, float32 (n, 2) of longitude in [-180, 180] and latitude in degrees, of all
polylines one after the other, and `length`, int32, the number of points of each.
"""

from pathlib import Path

FILE = Path(__file__).with_name("coastline_110m.npz")
