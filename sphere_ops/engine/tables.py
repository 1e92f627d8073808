"""Tables that live as long as a layer that needs them.

An operation names its tables by a spec, so that a graph that holds it means the same in another
process, and by dtype and device of its input, which need not be those of a layer's weights. So
tables cannot be buffers. Layers of one spec hold one `TableSet` instead: deleting the last of them
frees it, and moving one drops what was made for where it was.
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
    """Tables of one spec, made when they are asked for.

    Attributes:
        name: name of the spec.
        made: tables by the function that made them and its arguments.
    """

    def __init__(self, name: str) -> None:
        """Start without tables."""
        self.name = name
        self.made: dict[tuple[Callable[..., Any], tuple[Hashable, ...]], Any] = {}

    def follow(self, move: Callable[[Tensor], Tensor]) -> None:
        """Drop what a layer leaves that moves to another device or converts to another dtype.

        What it needs there is made at its next call.

        Args:
            move: function that the layer applies to its tensors.
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
        """Copies and pickles of a layer share the tables of their process."""
        return table_set, (self.name,)


_sets: WeakValueDictionary[str, TableSet] = WeakValueDictionary()


def table_set(name: str) -> TableSet:
    """Return the tables of a spec, for a layer to hold."""
    found = _sets.get(name)
    if found is None:
        found = _sets[name] = TableSet(name)
    return found


# A backward pass or a graph may outlive its layers, or a graph may be loaded without them.
_without_layer = lru_cache(maxsize=4)(table_set)


def in_table_set(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Keep the results of a function of a spec, and of hashable arguments, in its `TableSet`."""

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
    """Return the object that an earlier call with the same arguments made, while it lives."""
    alive: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        result: T | None = alive.get(args)
        if result is None:
            result = alive[args] = function(*args, **kwargs)
        return result

    return call
