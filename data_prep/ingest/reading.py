"""Reading of blocks of channels, with each chunk of a source decompressed once."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.variables import Variable
from data_prep.ingest.catalogue.fields import SourceField, read_fields, slice_or_list
from data_prep.ingest.plan import Plan
from data_prep.ingest.recipes import Index, Term
from data_prep.ingest.regridding.derived import with_vorticity_divergence
from data_prep.ingest.regridding.regrid import FileGrid, Regridder
from data_prep.ingest.sources import Sources
from data_prep.store.blocks import Block
from sphere_ops.grid import Grid

_TOGETHER = 8 * 2**20
"""Bytes of small chunks that are read together."""
_VECTORS = frozenset({"eastward_wind", "northward_wind"})


class Regridding:
    """Regridding from the grids of sources to one grid, with one cached map for each.

    Args:
        target: Grid of the result.
        method: Method, see `Regridder`.
    """

    def __init__(self, target: Grid, method: Any = "auto") -> None:
        self.target, self.method = target, method
        self._known: dict[Any, Regridder | None] = {}
        self._lock = threading.Lock()

    def __call__(
        self, fields: NDArray[np.floating], source: FileGrid, channel: Variable
    ) -> NDArray[np.floating]:
        """Regrid fields (n, nlat, nlon) in the canonical order to the target grid."""
        regridder = self._map(source)
        if regridder is None:
            return fields
        return regridder(fields, vector=channel.standard_name in _VECTORS)

    def _map(self, source: FileGrid) -> Regridder | None:
        key = (source.latitude.tobytes(), source.nlon, source.first_longitude)
        with self._lock:
            if key not in self._known:
                same = source.grid == self.target
                self._known[key] = (
                    None if same else Regridder(source, self.target, method=self.method)
                )
            return self._known[key]


class _Slab:
    """Fields of one variable of a source at all wanted levels, read in groups of entries.

    A group is a number of whole chunks, if these are small, and a part of a chunk that would take
    too much memory. Such a chunk is decompressed for each part.
    """

    def __init__(
        self, terms: Sequence[tuple[int, Term]], channels: Sequence[Variable], most_bytes: int
    ) -> None:
        fields: dict[int, SourceField] = {}
        for _, term in terms:
            fields.setdefault(id(term.field), term.field)
        self.fields = list(fields.values())
        self.place = {id(f): i for i, f in enumerate(self.fields)}
        self.channel = channels[terms[0][0]]
        one = self.fields[0]
        layer = 4 * one.grid.nlat * one.grid.nlon * len(self.fields)
        if one.chunk * layer > most_bytes:
            self.size = max(1, most_bytes // layer)
        else:
            self.size = one.chunk * max(1, _TOGETHER // (one.chunk * layer))
        self.length = one.time_shape[-1] if one.time_shape else 1
        needed = np.unique(np.concatenate([term.entry for _, term in terms]))
        group = self.group(needed)
        self.needed = {int(g): needed[group == g] for g in np.unique(group)}

    def group(self, entry: Index) -> Index:
        """Return the number of the group of each entry."""
        per_row = -(-self.length // self.size)
        return entry // self.length * per_row + entry % self.length // self.size


class BlockReader:
    """Reads blocks of the channels of a plan, from several threads.

    Regridded groups of entries are kept until the last block that needs them has been read.

    Indices of times are those of the plan, which has the new times only if a store is extended.

    Args:
        plan: Plan of the store.
        sources: Open sources.
        most_bytes: Most bytes of a source to read at once.
    """

    def __init__(
        self,
        plan: Plan,
        sources: Sources,
        most_bytes: int = 512 * 2**20,
    ) -> None:
        self.plan, self.sources = plan, sources
        self.to_grid = Regridding(plan.grid, plan.config.regridding)
        terms: dict[tuple[Any, ...], list[tuple[int, Term]]] = defaultdict(list)
        for c, recipe in enumerate(plan.recipes):
            for term in recipe.terms:
                terms[term.field.slab].append((c, term))
        self._terms = terms
        self._slabs = {key: _Slab(own, plan.inputs, most_bytes) for key, own in terms.items()}
        self._uses: Counter[Hashable] = Counter()
        self._kept: dict[Hashable, Future[NDArray[np.float32]]] = {}
        self._lock = threading.Lock()

    def expect(self, blocks: Iterable[Block]) -> None:
        """Keep what is read for blocks that will be read, and forget what none of them needs."""
        self._uses = Counter(name for block in blocks for name in self._groups(block))
        self._kept = {name: one for name, one in self._kept.items() if self._uses[name]}

    def n_groups(self, blocks: Iterable[Block]) -> int:
        """Return the number of groups of entries that blocks need."""
        return len({name for block in blocks for name in self._groups(block)})

    def read(self, block: Block) -> NDArray[np.float32]:
        """Read a block.

        Returns:
            Fields (time, channel, nlat, nlon) in the units of the channels, NaN where missing.
        """
        shape = (block.stop - block.start, len(self.plan.inputs), *self.plan.grid.shape)
        out = np.zeros(shape, dtype=np.float32)
        for key in self._slabs:
            used = self._add(key, block, out)
            self._release(used)
        return with_vorticity_divergence(out, self.plan.inputs, self.plan.channels,
                                         self.plan.pairs, self.plan.grid)  # fmt: skip

    def _add(self, key: tuple[Any, ...], block: Block, out: NDArray[np.float32]) -> set[Hashable]:
        """Add the contributions of a slab to a block; return the names of the groups used."""
        slab, used = self._slabs[key], set()
        for c, term in self._terms[key]:
            part = _inside(term, block)
            entry, weight = term.entry[part], term.weight[part]
            target, group = term.target[part] - block.start, slab.group(entry)
            for g in np.unique(group).tolist():
                values = self._group(key, g, block.trajectory)
                used.add(self._name(key, g, block.trajectory))
                here = group == g
                place = np.searchsorted(slab.needed[g], entry[here])
                found = values[slice_or_list(place), slab.place[id(term.field)]]
                if (weight[here] != 1).any():
                    found = found * weight[here, None, None].astype(np.float32)
                out[slice_or_list(target[here]), c] += found
        return used

    def _groups(self, block: Block) -> set[Hashable]:
        """Return the names of the groups that a block needs."""
        return {
            self._name(key, g, block.trajectory)
            for key, slab in self._slabs.items()
            for _, term in self._terms[key]
            for g in np.unique(slab.group(term.entry[_inside(term, block)])).tolist()
        }

    def _name(self, key: tuple[Any, ...], group: int, trajectory: int | None) -> Hashable:
        shared = self._slabs[key].fields[0].trajectory_dim is None
        return key, group, None if shared else trajectory

    def _group(
        self, key: tuple[Any, ...], group: int, trajectory: int | None
    ) -> NDArray[np.float32]:
        """Return a group on the grid of the store, (entry, field, nlat, nlon)."""
        name = self._name(key, group, trajectory)
        with self._lock:
            future = self._kept.get(name)
            is_new = future is None
            if future is None:
                future = self._kept[name] = Future()
        if is_new:
            try:
                future.set_result(self._read(key, group, trajectory))
            except BaseException as error:
                future.set_exception(error)
                with self._lock:
                    self._kept.pop(name, None)
        return future.result()

    def _read(
        self, key: tuple[Any, ...], group: int, trajectory: int | None
    ) -> NDArray[np.float32]:
        slab = self._slabs[key]
        values = read_fields(self.sources, slab.fields, slab.needed[group], trajectory)
        lead, source = values.shape[:2], slab.fields[0].grid
        fields = self.to_grid(values.reshape(-1, *values.shape[2:]), source, slab.channel)
        return fields.reshape(*lead, *self.to_grid.target.shape).astype(np.float32, copy=False)

    def _release(self, names: set[Hashable]) -> None:
        """Forget groups that no other block needs."""
        with self._lock:
            for name in names:
                self._uses[name] -= 1
                if self._uses[name] <= 0:
                    self._kept.pop(name, None)


def _inside(term: Term, block: Block) -> slice:
    """Return the entries of a term that belong to a block."""
    first, last = np.searchsorted(term.target, [block.start, block.stop])
    return slice(int(first), int(last))
