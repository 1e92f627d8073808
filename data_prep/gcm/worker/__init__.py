"""The process that runs a circulation model and writes gridded files, one for each month.

It needs numpy, xarray and netCDF4 beside the model, and nothing else of the project: it may run in
another environment.
"""
