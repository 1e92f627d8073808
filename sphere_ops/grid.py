"""Global grids: coordinates and area weights of their points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import index
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

GridKind = Literal["equiangular", "cell-centred", "legendre-gauss"]

EARTH_RADIUS = 6.37122e6
"""Radius of the Earth, m (Williamson et al. 1992, J. Comput. Phys. 102, 211-224)."""
EARTH_ROTATION = 7.292e-5
"""Angular velocity of the Earth, s⁻¹ (same source)."""
EARTH_GRAVITY = 9.80616
"""Gravitational acceleration of the Earth, m s⁻² (same source)."""

_NODE_TOLERANCE = 0.05  # of a spacing, for rounded coordinates; the kinds differ by 0.1 or more


@dataclass(frozen=True)
class Grid:
    """Global grid of nlat rows of nlon equally spaced points, north first.

    Attributes:
        kind: `equiangular` (rows at both poles), `cell-centred` (rows half a spacing off the
            poles) or `legendre-gauss` (rows at the Gaussian latitudes).
        nlat: Number of rows.
        nlon: Number of points in a row.
        first_longitude: Longitude of the first column, degrees east. It changes no operator:
            all of them commute with a shift in longitude.
    """

    kind: GridKind
    nlat: int
    nlon: int
    first_longitude: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings, and convert them to plain Python numbers."""
        if self.kind not in get_args(GridKind):
            kinds = ", ".join(get_args(GridKind))
            raise ValueError(f"unknown kind of grid {self.kind!r}; expected one of {kinds}")
        for name, value in (
            ("nlat", whole_number("nlat", self.nlat)),
            ("nlon", whole_number("nlon", self.nlon)),
            ("first_longitude", float(self.first_longitude)),
        ):
            object.__setattr__(self, name, value)  # plain numbers instead of NumPy's or torch's
        if self.nlat < 2 or self.nlon < 2:
            raise ValueError(f"a grid needs 2 rows and 2 columns, got {self.nlat}×{self.nlon}")
        if not 0 <= self.first_longitude < 360 / self.nlon:
            raise ValueError(
                f"first longitude {self.first_longitude:g} of {self.nlon} columns; expected the "
                f"smallest one, in [0, {360 / self.nlon:g}) degrees east"
            )

    @staticmethod
    def equiangular(nlat: int, nlon: int) -> Grid:
        """Return a grid of equally spaced rows, the first and last at the poles.

        Its weights are those of Clenshaw-Curtis quadrature.
        """
        return Grid("equiangular", nlat, nlon)

    @staticmethod
    def cell_centred(nlat: int, nlon: int) -> Grid:
        """Return a grid of equally spaced rows at the centres of their cells.

        Its weights are those of Fejér's first rule.
        """
        return Grid("cell-centred", nlat, nlon)

    @staticmethod
    def legendre_gauss(nlat: int, nlon: int) -> Grid:
        """Return a grid with rows at the Gaussian latitudes."""
        return Grid("legendre-gauss", nlat, nlon)

    @staticmethod
    def of(kind: GridKind, nlat: int, nlon: int) -> Grid:
        """Return a grid of a kind given by name."""
        return Grid(kind, nlat, nlon)

    @staticmethod
    def from_coordinates(latitude: Any, longitude: Any) -> Grid:
        """Recognise the grid of a file by its coordinates.

        Rows may run from north to south or from south to north, columns over any full turn
        (0..360, -180..180). The grid returned is north first and starts at the smallest longitude
        in [0, 360): the caller has to flip and roll the data accordingly.

        Args:
            latitude: Rows in degrees north, 1-D; numpy, torch, xarray or a sequence.
            longitude: Columns in degrees east, 1-D.

        Returns:
            Grid of the kind whose rows match those of the file.

        Raises:
            ValueError: If the coordinates are not those of a global regular grid of a known kind.
        """
        lat, lon = _degrees(latitude, "latitude"), _degrees(longitude, "longitude")
        first_longitude = _first_longitude(lon)
        steps = np.diff(lat)
        if not (np.all(steps > 0) or np.all(steps < 0)):
            raise ValueError("latitudes are not in order; sort them from north to south")
        if np.abs(lat).max() > 90 + 1e-3:
            raise ValueError(
                f"latitudes reach {np.abs(lat).max():g}; expected degrees north between -90 and 90"
            )
        lat = -np.sort(-lat)
        tolerance = _NODE_TOLERANCE * np.abs(steps).min()
        for kind in get_args(GridKind):
            grid = Grid(kind, len(lat), len(lon), first_longitude)
            if np.allclose(lat, grid.latitude.numpy(), rtol=0, atol=tolerance):
                return grid
        raise ValueError(
            f"{len(lat)} latitudes from {lat[0]:g} to {lat[-1]:g} are not those of a global grid: "
            "expected, in degrees, equally spaced rows with or without the poles, or Gaussian "
            "latitudes; regrid a regional or unequally spaced file first"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a field, (nlat, nlon)."""
        return self.nlat, self.nlon

    @property
    def colatitude(self) -> Tensor:
        """Angle from the north pole, radians, (nlat,) float64."""
        return _rows(self.kind, self.nlat)[0]

    @property
    def latitude(self) -> Tensor:
        """Latitudes, degrees north, 90 to -90, (nlat,) float64."""
        return 90 - torch.rad2deg(self.colatitude)

    @property
    def longitude(self) -> Tensor:
        """Longitudes, degrees east in [0, 360), (nlon,) float64."""
        columns = torch.arange(self.nlon, dtype=torch.float64)
        return self.first_longitude + columns * (360 / self.nlon)

    @property
    def area_weights(self) -> Tensor:
        """Fraction of the sphere's area of each point, (nlat, 1) float64; the grid sums to 1.

        They integrate spherical harmonics exactly up to degree 2·nlat − 1 (`legendre-gauss`) or
        nlat − 1 (the other two), and orders below nlon.
        """
        return (_rows(self.kind, self.nlat)[1] / self.nlon)[:, None]

    @property
    def exact_lmax(self) -> int:
        """Largest lmax (exclusive) for which synthesis followed by analysis is the identity."""
        degrees = self.nlat if self.kind == "legendre-gauss" else (self.nlat + 1) // 2
        return min(degrees, (self.nlon + 1) // 2)

    def is_rotation_of(self, other: Grid) -> bool:
        """Return True if the grids differ at most by a rotation about the Earth's axis."""
        return (self.kind, self.shape) == (other.kind, other.shape)

    def place(self, row: int, column: int) -> str:
        """Return the coordinates of a point as text, such as "45 N 3 E"."""
        latitude, longitude = float(self.latitude[row]), float(self.longitude[column])
        return f"{abs(latitude):.4g} {'N' if latitude >= 0 else 'S'} {longitude:.5g} E"

    def __str__(self) -> str:
        """Return the kind and size, and the first longitude unless it is 0, for messages."""
        first = f" from {self.first_longitude:g} E" if self.first_longitude else ""
        return f"{self.kind} {self.nlat}×{self.nlon}{first}"


def whole_number(name: str, value: int) -> int:
    """Return the value as an int, or raise a ValueError with its name."""
    try:
        return index(value)
    except TypeError as error:
        raise ValueError(f"{name} {value!r}; expected a whole number") from error


@cache
def _rows(kind: GridKind, nlat: int) -> tuple[Tensor, Tensor]:
    """Return colatitudes and area fractions of the rows, north first, both (nlat,) float64."""
    match kind:
        case "legendre-gauss":
            nodes, weights = np.polynomial.legendre.leggauss(nlat)
            colatitude = np.arccos(nodes[::-1])
        case "equiangular":
            colatitude = np.linspace(0, np.pi, nlat)
            weights = _clenshaw_curtis(nlat)
        case "cell-centred":
            colatitude = (np.arange(nlat) + 0.5) * (np.pi / nlat)
            weights = _fejer(colatitude)
    # Sums over hemispheres rely on exact mirror symmetry, which rounding would break.
    colatitude = (colatitude + (np.pi - colatitude[::-1])) / 2
    weights = (weights + weights[::-1]) / 2
    return torch.from_numpy(colatitude), torch.from_numpy(weights / weights.sum())


def _clenshaw_curtis(n: int) -> np.ndarray:
    """Return weights at θ_j = π j / (n − 1) for ∫ f(cos θ) sin θ dθ, exact for degrees below n."""
    intervals = n - 1
    theta = np.pi * np.arange(n) / intervals
    k = np.arange(1, intervals // 2 + 1)
    b = np.where(2 * k == intervals, 1.0, 2.0)
    weights = 1 - (b / (4 * k**2 - 1) * np.cos(2 * np.outer(theta, k))).sum(axis=1)
    weights *= 2 / intervals
    weights[[0, -1]] /= 2
    return weights


def _fejer(theta: np.ndarray) -> np.ndarray:
    """Return weights of Fejér's first rule at θ_j = π (j + ½) / n, exact for degrees below n."""
    n = len(theta)
    k = np.arange(1, n // 2 + 1)
    return 2 / n * (1 - 2 * (np.cos(2 * np.outer(theta, k)) / (4 * k**2 - 1)).sum(axis=1))


def _degrees(values: Any, name: str) -> np.ndarray:
    """Return a coordinate as a 1-D float64 array."""
    if not isinstance(values, np.ndarray | Tensor | Sequence):
        values = getattr(values, "values", values)  # of an xarray or pandas object
    if not isinstance(values, np.ndarray | Tensor | Sequence):
        raise ValueError(f"{name} of type {type(values).__name__}; expected a 1-D array of degrees")
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not hold numbers ({error}); expected degrees") from error
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(
            f"{name} of shape {array.shape}; expected 1-D coordinates of a regular grid with at "
            "least 2 points; regrid a curvilinear or reduced grid first"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds missing or infinite values; expected degrees")
    return array


def _first_longitude(lon: np.ndarray) -> float:
    """Return the smallest longitude in [0, 360) of columns that cover the full circle."""
    n, spacing = len(lon), 360 / len(lon)
    tolerance = max(_NODE_TOLERANCE * spacing, 1e-4)
    # Positions are compared, not steps: where a file repeats its first column, each step differs
    # from the expected one by 1/n only.
    if not np.allclose(lon, lon[0] + spacing * np.arange(n), rtol=0, atol=tolerance):
        raise ValueError(
            f"{n} longitudes from {lon[0]:g} to {lon[-1]:g} do not go once round the sphere in "
            f"equal steps: expected steps of {spacing:g} degrees; a file that repeats its "
            "first column must be cut, and a regional one regridded to a global grid"
        )
    first = float(np.mod(lon[0], spacing))
    for exact in (0.0, spacing / 2, spacing):  # files hold rounded coordinates
        if abs(first - exact) < tolerance:
            return exact % spacing
    return first
