"""Choice of the variables of a forecast file, and their computation from each state."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import torch
from torch import Tensor

from configs.variables import Variable
from forecast.inference.output.derived import DerivedField, Sphere
from forecast.inference.output.table import DERIVED
from sphere_ops.parallel.mesh import current


class OutputFields:
    """Channels and derived variables that are written, computed from the fields of a state.

    Attributes:
        channels: Channels of the model that are written.
        derived: Derived variables that are written; they follow the channels.
        comment: Remarks on derived variables, for the forecast file; empty without any.
    """

    def __init__(
        self,
        channels: Sequence[Variable],
        sphere: Sphere,
        derive: Sequence[str] = (),
        variables: Sequence[str] = (),
        valid: Tensor | None = None,
    ) -> None:
        """Choose the variables.

        Args:
            channels: Channels of the forecast.
            sphere: Geometry of the forecast.
            derive: Names of derivations, from `DERIVED`.
            variables: Names of channels and derived variables to write; all if empty.
            valid: Points at which channels have values, bool (c, nlat, nlon), in a mesh this rank's
                rows; None for everywhere.

        Raises:
            ValueError: if a name is unknown, a derivation lacks its inputs, or an input that has to
                be known everywhere has a mask.
        """
        names = [channel.name for channel in channels]
        steps, wanted = _derivations(names, sphere, derive)
        chosen = _chosen(names, [v.name for v in wanted], variables)
        self.channels = tuple(c for c in channels if c.name in chosen)
        self.derived = tuple(v for v in wanted if v.name in chosen)
        self._steps = _needed(steps, {v.name for v in self.derived})
        self._names = names
        self._written = [v.name for v in self.variables]
        self.comment = "; ".join({s.comment: None for s in self._steps if s.comment})
        _check_masks(self._steps, names, valid)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """All that is written: the channels, then the derived variables."""
        return (*self.channels, *self.derived)

    def __call__(self, fields: Tensor) -> Tensor:
        """Return what is written, (b, v, nlat, nlon), of the fields of a state (b, c, nlat, nlon).

        In a mesh of own rows; all ranks along latitude call it together.
        """
        if self._written == self._names:
            return fields
        known = dict(zip(self._names, fields.unbind(1), strict=True))
        for step in self._steps:
            values = step.compute(torch.stack([known[name] for name in step.inputs], dim=1))
            for variable, value in zip(step.outputs, values.unbind(1), strict=True):
                known.setdefault(variable.name, value)
        return torch.stack([known[name] for name in self._written], dim=1)


def _derivations(
    channels: Sequence[str], sphere: Sphere, derive: Sequence[str]
) -> tuple[list[DerivedField], list[Variable]]:
    """Return the computations in order, with those that others need, and the wanted variables."""
    for name in derive:
        if name not in DERIVED:
            near = get_close_matches(name, DERIVED, n=1)
            raise ValueError(
                f"unknown derived field {name!r}; expected one of {', '.join(DERIVED)}"
                + (f" (nearest: {near[0]})" if near else "")
            )
    needed = {*derive, *(before for name in derive for before in DERIVED[name].after)}
    known, steps, wanted = list(channels), list[DerivedField](), list[Variable]()
    for name in DERIVED:
        if name not in needed:
            continue
        found = DERIVED[name].find(known, sphere)
        if not found and name in derive:
            raise ValueError(
                f"{name} does not follow from a forecast of {', '.join(channels)}; expected "
                f"{DERIVED[name].needs}: leave out --derive {name}"
            )
        new = [v for step in found for v in step.outputs if v.name not in known]
        steps += found
        known += [v.name for v in new]
        wanted += new if name in derive else []
    return steps, wanted


def _chosen(channels: Sequence[str], derived: Sequence[str], variables: Sequence[str]) -> set[str]:
    """Return the names to write."""
    known = (*channels, *derived)
    for name in variables:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ValueError(
                f"--variables names {name!r}, and the forecast has {', '.join(known)}"
                + (f" (nearest: {near[0]})" if near else "")
                + f"; other variables may follow with --derive: {', '.join(DERIVED)}"
            )
    return set(variables or known)


def _needed(steps: Sequence[DerivedField], wanted: set[str]) -> list[DerivedField]:
    """Return the computations on which wanted variables depend."""
    kept: list[DerivedField] = []
    for step in reversed(steps):
        if wanted & {v.name for v in step.outputs}:
            kept.insert(0, step)
            wanted = wanted | set(step.inputs)
    return kept


def _check_masks(
    steps: Sequence[DerivedField], channels: Sequence[str], valid: Tensor | None
) -> None:
    """Raise a ValueError if a computation on the whole sphere takes a channel with a mask."""
    for step in steps:
        for name in step.inputs if step.whole_sphere else ():
            if name not in channels:
                continue
            lacks = valid is not None and not bool(valid[channels.index(name)].all())
            if current().any_rank(lacks):
                outputs = " and ".join(v.name for v in step.outputs)
                raise ValueError(
                    f"{name} has a mask, and {outputs} depend on its values on the whole sphere: "
                    "leave out --derive"
                )
