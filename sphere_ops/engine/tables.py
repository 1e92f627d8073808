"""Cache of tables, freed with the last layer that uses them.

An operation refers to its tables by a spec, so that a graph is valid in another process, and by the
dtype and device of its input, which may differ from those of the layer's weights. Tables therefore
cannot be buffers. Layers with the same spec share one `TableSet` instead. It is freed with the last
of these layers. Moving a layer drops the tables of its previous device and dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from sphere_ops.engine.spec import Spec

P = ParamSpec("P")
S = TypeVar("S", bound=Spec)
T = TypeVar("T")


class TableSet:
    """Tables of one spec, made at their first use.

    Attributes:
        name: Name of the spec.
        made: Tables by the function that made them and its arguments.
    """

    def __init__(self, name: str) -> None:
        """Create an empty set."""
        self.name = name
        self.made: dict[tuple[Callable[..., Any], tuple[Hashable, ...]], Any] = {}

    def follow(self, move: Callable[[Tensor], Tensor]) -> None:
        """Drop the tables that a layer no longer uses after a change of device or dtype.

        The next call of the layer makes the new tables.

        Args:
            move: Function that the layer applies to its tensors.
        """
        probe = torch.empty(0, dtype=torch.float32)
        moved = move(probe)
        converted = moved.dtype != probe.dtype
        for key in list(self.made):
            for argument in key[1]:
                if (
                    isinstance(argument, torch.device)
                    and argument != moved.device
                    or (converted and isinstance(argument, torch.dtype) and argument != moved.dtype)
                ):
                    self.made.pop(key, None)

    def __reduce__(self) -> tuple[Callable[[str], TableSet], tuple[str]]:
        """Reduce to the name, so that copies and unpickled layers share tables in a process."""
        return table_set, (self.name,)


_sets: WeakValueDictionary[str, TableSet] = WeakValueDictionary()


def table_set(name: str) -> TableSet:
    """Return the table set of a spec, for a layer to keep alive."""
    found = _sets.get(name)
    if found is None:
        found = _sets[name] = TableSet(name)
    return found


# A backward pass or a graph may outlive its layers, and a graph may be loaded without layers.
_without_layer = lru_cache(maxsize=4)(table_set)


def in_table_set(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Cache a function of a spec and of hashable arguments in the `TableSet` of the spec."""

    @wraps(function)
    def call(spec: S, *args: P.args, **kwargs: P.kwargs) -> T:
        made = (_sets.get(spec.name) or _without_layer(spec.name)).made
        key = function, args
        if key not in made:
            made[key] = function(spec, *args, **kwargs)
        result: T = made[key]
        return result

    return call


def shared(function: Callable[P, T]) -> Callable[P, T]:
    """Cache results of a function by its arguments, as long as they are referenced elsewhere."""
    alive: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        result: T | None = alive.get(args)
        if result is None:
            result = alive[args] = function(*args, **kwargs)
        return result

    return call
