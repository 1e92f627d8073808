"""Descriptions of operations as JSON text, valid in every process."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, ClassVar

from sphere_ops.grid import Grid
from sphere_ops.kernels.filters import Filter


class Spec:
    """Base class of the frozen dataclasses that describe operations.

    Attributes:
        kinds: Subclasses by name.
        name: JSON text of the description, an argument of the operation.
    """

    kinds: ClassVar[dict[str, type]] = {}
    name: str

    def __init_subclass__(cls) -> None:
        """Register the subclass for `spec_from_json`."""
        Spec.kinds[cls.__name__] = cls

    def __post_init__(self) -> None:
        """Set the name."""
        object.__setattr__(self, "name", json.dumps(_encoded(self)))


@cache
def spec_from_json(name: str) -> Any:
    """Return the spec of a name."""
    return _decoded(json.loads(name), {"Grid": Grid, "tuple": _tuple} | Filter.kinds | Spec.kinds)


def _encoded(value: Any) -> Any:
    """Convert a dataclass or tuple to [kind, values]; keep numbers, text and None."""
    if isinstance(value, tuple):
        return ["tuple", [_encoded(v) for v in value]]
    if is_dataclass(value):
        return [type(value).__name__, [_encoded(getattr(value, f.name)) for f in fields(value)]]
    return value


def _decoded(value: Any, kinds: dict[str, Any]) -> Any:
    if not isinstance(value, list):
        return value
    kind, values = value
    return kinds[kind](*(_decoded(v, kinds) for v in values))


def _tuple(*values: Any) -> tuple[Any, ...]:
    return values
