"""Sources of gridded data: netCDF, GRIB, zarr and HDF5, local or remote.

`Sources` opens them as lists of xarray data sets.
"""

from data_prep.ingest.sources.collection import Sources
from data_prep.ingest.sources.errors import read_errors, unreadable

__all__ = ["Sources", "read_errors", "unreadable"]
