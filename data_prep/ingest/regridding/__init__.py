"""Methods of regridding: products of sparse matrices of rows and columns, spherical harmonics."""
