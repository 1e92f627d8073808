"""File formats of a forecast, each written piece by piece."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import netCDF4
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from configs.netcdf_lock import NETCDF_LOCK
from data_prep.store.arrays import CHECKSUM
from forecast.inference.chunk_files import ChunkFiles

# Half the processor time of Zstandard, and smaller files of fields without exactly equal values.
# From level 4 on it takes twice the time, and files are no smaller.
_COMPRESSION = BloscCodec(cname="lz4", clevel=3, shuffle="bitshuffle")


class FileFormat(Protocol):
    """Interface of a file format for the writer."""

    def attributes(self, attributes: Mapping[str, str]) -> None:
        """Set attributes of the file."""

    def dims(self, dims: Mapping[str, int]) -> None:
        """Define dims, by name, in the order of the fields' dims."""

    def coordinate(
        self, name: str, dims: tuple[str, ...], values: NDArray[Any], attributes: Mapping[str, str]
    ) -> None:
        """Define a variable and write all of it."""

    def field(
        self,
        name: str,
        dims: tuple[str, ...],
        piece: tuple[int, int],
        attributes: Mapping[str, str],
    ) -> None:
        """Define a float32 variable, missing everywhere.

        Args:
            name: of the variable.
            dims: forecast, member if there are some, lead time, latitude, longitude.
            piece: lead times and rows that are written at once.
            attributes: of the variable.
        """

    def put(self, name: str, index: tuple[int | slice, ...], values: NDArray[Any]) -> None:
        """Write a part of a field."""

    def close(self) -> None:
        """Finish the file."""


class NetCDFFormat:
    """A netCDF4 file."""

    def __init__(self, path: Path) -> None:
        """Create the file, by one process."""
        with NETCDF_LOCK:
            self._file = netCDF4.Dataset(path, "w", format="NETCDF4")

    @NETCDF_LOCK
    def attributes(self, attributes: Mapping[str, str]) -> None:
        """See `FileFormat`."""
        self._file.setncatts(dict(attributes))

    @NETCDF_LOCK
    def dims(self, dims: Mapping[str, int]) -> None:
        """See `FileFormat`."""
        for name, size in dims.items():
            self._file.createDimension(name, size)

    @NETCDF_LOCK
    def coordinate(
        self, name: str, dims: tuple[str, ...], values: NDArray[Any], attributes: Mapping[str, str]
    ) -> None:
        """See `FileFormat`."""
        variable = self._file.createVariable(name, values.dtype, dims, fill_value=False)
        variable.setncatts(dict(attributes))
        variable[:] = values

    @NETCDF_LOCK
    def field(
        self,
        name: str,
        dims: tuple[str, ...],
        piece: tuple[int, int],
        attributes: Mapping[str, str],
    ) -> None:
        """See `FileFormat`."""
        shape = [len(self._file.dimensions[d]) for d in dims]
        variable = self._file.createVariable(
            name,
            "f4",
            dims,
            fill_value=np.float32("nan"),
            chunksizes=(*(1,) * len(shape[:-2]), *shape[-2:]),
            # A checksum, but no compression: zlib saves a sixth of the space of such fields, and
            # costs half as much time as the steps of a small model.
            fletcher32=True,
        )
        variable.setncatts(dict(attributes))
        # Fields are written once: a cache of many chunks per variable is memory for nothing.
        variable.set_var_chunk_cache(size=2 * 4 * shape[-2] * shape[-1])

    @NETCDF_LOCK
    def put(self, name: str, index: tuple[int | slice, ...], values: NDArray[Any]) -> None:
        """See `FileFormat`."""
        self._file[name][index] = values

    @NETCDF_LOCK
    def close(self) -> None:
        """See `FileFormat`."""
        self._file.close()


class ZarrFormat:
    """A zarr v3 group, consolidated."""

    def __init__(self, path: Path, *, new: bool, compressed: bool = True) -> None:
        """Create the file, or open one that another process has created.

        Args:
            path: of the group.
            new: True to create it.
            compressed: False to create fields without compression, the chunks of each in one
                folder, for a file that is read once. To remove folders takes longer than files.
        """
        self._path = path
        self._codecs = (_COMPRESSION, CHECKSUM) if compressed else (CHECKSUM,)
        self._separator: Literal["/", "."] = "/" if compressed else "."
        self._group = (
            zarr.create_group(path, zarr_format=3)
            if new
            else zarr.open_group(path, mode="r+", use_consolidated=False)
        )
        self._dims: dict[str, int] = {}
        self._fields: dict[str, ChunkFiles] = {}

    def read_attributes(self) -> dict[str, str]:
        """Return the attributes of the file."""
        return {name: str(value) for name, value in self._group.attrs.items()}

    def attributes(self, attributes: Mapping[str, str]) -> None:
        """See `FileFormat`."""
        self._group.attrs.update(dict(attributes))

    def dims(self, dims: Mapping[str, int]) -> None:
        """See `FileFormat`."""
        self._dims |= dims

    def coordinate(
        self, name: str, dims: tuple[str, ...], values: NDArray[Any], attributes: Mapping[str, str]
    ) -> None:
        """See `FileFormat`."""
        array = self._group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            compressors=self._codecs,
            dimension_names=dims,
            attributes={**attributes},
            overwrite=True,  # by a rollout that goes on after its last step
        )
        array[:] = values

    def field(
        self,
        name: str,
        dims: tuple[str, ...],
        piece: tuple[int, int],
        attributes: Mapping[str, str],
    ) -> None:
        """See `FileFormat`."""
        shape = tuple(self._dims[d] for d in dims)
        held, rows = piece
        self._group.create_array(
            name,
            shape=shape,
            dtype="f4",
            # One file for each flush, in one piece: reading costs by the number of pieces.
            chunks=(*(1,) * len(shape[:-3]), held, rows, shape[-1]),
            compressors=self._codecs,
            chunk_key_encoding={"name": "default", "separator": self._separator},
            fill_value=float("nan"),
            dimension_names=dims,
            attributes={**attributes},
        )

    def put(self, name: str, index: tuple[int | slice, ...], values: NDArray[Any]) -> None:
        """See `FileFormat`."""
        self._chunks(name).write(index, values)

    def get(self, name: str, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part of a field."""
        return self._chunks(name).read(index)

    def _chunks(self, name: str) -> ChunkFiles:
        if name not in self._fields:
            chunks = ChunkFiles.of(self._path / name)
            assert chunks is not None, f"{name} was defined by `field`"
            self._fields[name] = chunks
        return self._fields[name]

    def close(self) -> None:
        """See `FileFormat`."""
        with warnings.catch_warnings():
            # Not in the specification yet, and yet what a plain xarray.open_zarr looks for.
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            zarr.consolidate_metadata(self._path)
