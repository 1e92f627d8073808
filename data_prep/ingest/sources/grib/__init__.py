"""GRIB files: headers, index, arrays without holes, decoding."""
