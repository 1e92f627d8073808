"""Inputs of the network that do not change in time: fields of place, of the store, and masks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from data_prep.store.reader import Store
from forecast.model.forcing import is_positional, positional_field
from forecast.model.points.fill import NearestFill
from forecast.model.points.interpolate import at_points
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample
from sphere_ops.parallel.fields import area_mean, own_rows, own_shape
from sphere_ops.parallel.mesh import current


def static_inputs(names: tuple[str, ...], store: Store) -> Tensor:
    """Static inputs, of order one, (s, nlat, nlon): the named fields, then the distinct masks.

    In a mesh own rows.

    A network that sees zero outside the mask has to know that from a zero of the field.

    Raises:
        ValueError: if a name is neither positional nor a static field of the store.
    """
    fields = []
    for name in names:
        if is_positional(name):
            fields.append(positional_field(name, store.grid).float())
        elif name in store.static:
            fields.append(_standardised(store.static[name], store.grid))
        else:
            raise ValueError(
                f"model.static names {name!r}, which {store.path} does not have; it has "
                f"{', '.join(store.static) or 'no static fields'}, and sin_latitude, cos_latitude, "
                "sin_longitude, cos_longitude follow from the grid"
            )
    if store.mask is not None:
        fields.extend(_distinct(store.mask, store.grid).float())
    return torch.stack(fields) if fields else torch.empty(0, *own_shape(store.grid))


def static_on_grid(names: tuple[str, ...], static: Tensor, grid: Grid, grid_out: Grid) -> Tensor:
    """Static inputs on another grid, (s, nlat_out, nlon_out).

    Positional ones are computed there, other fields resampled, masks taken from the nearest point.
    """
    fields = [
        positional_field(name, grid_out).to(static)
        if is_positional(name)
        else resample(field, grid, grid_out)
        for name, field in zip(names, static[: len(names)], strict=True)
    ]
    fields += [nearest(f, grid, grid_out) for f in static[len(names) :]]
    return torch.stack(fields) if fields else static.new_empty(0, *own_shape(grid_out))


def _standardised(field: Tensor, grid: Grid) -> Tensor:
    """A field with area mean 0 and variance 1; a constant one becomes 0."""
    anomaly = field.double() - area_mean(field.double(), grid)
    std = area_mean(anomaly.square(), grid).sqrt()
    return (anomaly / std if std > 0 else anomaly).float()


def _distinct(mask: Tensor, grid: Grid) -> Tensor:
    """The masks (c, nlat, nlon) that are neither everywhere nor a copy of another, sorted."""
    whole = current().gather_rows(mask, grid.nlat, everywhere=True)
    return torch.unique(whole[~whole.all(-1).all(-1)], dim=0)[:, own_rows(grid)]


def nearest(field: Tensor, grid: Grid, grid_out: Grid) -> Tensor:
    """A field (..., nlat, nlon) at the nearest points of another grid."""
    field = current().gather_rows(field, grid.nlat, everywhere=True)
    row = (grid_out.latitude[:, None] - grid.latitude).abs().argmin(-1).to(field.device)
    # Halfway between two columns it is the western one, for all columns alike.
    place = (grid_out.longitude - grid.first_longitude) * grid.nlon / 360
    column = (torch.ceil(place - 0.5 - 1e-6).long() % grid.nlon).to(field.device)
    return field[..., row[own_rows(grid_out)], :][..., column]


def transferred(field: Tensor, mask: Tensor | None, grid: Grid, grid_out: Grid) -> Tensor:
    """Return a field on another grid: resampled, or with a mask interpolated and 0 outside it."""
    if mask is None:
        return resample(field, grid, grid_out)
    there = interpolated(field, mask, grid, grid_out)
    return there.where(nearest(mask, grid, grid_out), 0)


def interpolated(field: Tensor, mask: Tensor, grid: Grid, grid_out: Grid) -> Tensor:
    """Interpolate a field with a mask to the points of another grid, by splines.

    Points outside the mask take the value of the nearest one inside first: steps at the coasts
    would come out as waves on both sides.

    Args:
        field: (..., c, nlat, nlon), in a mesh own rows.
        mask: points that have values, bool (c, nlat, nlon), likewise.
        grid: grid of both.
        grid_out: grid of the result.

    Returns:
        (..., c, nlat_out, nlon_out), with values everywhere; in a mesh own rows.
    """
    mask = mask.cpu()
    filled = NearestFill(mask, torch.ones_like(mask), grid)(field.cpu())
    whole = current().gather_rows(filled, grid.nlat, everywhere=True).flatten(0, -3).numpy()
    rows = grid_out.latitude[own_rows(grid_out)].numpy()
    latitude, longitude = np.meshgrid(rows, grid_out.longitude.numpy(), indexing="ij")
    values = np.stack([at_points(x, grid, latitude, longitude) for x in whole])
    return torch.from_numpy(values).to(field).unflatten(0, field.shape[:-2])
