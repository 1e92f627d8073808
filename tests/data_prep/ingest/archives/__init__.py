"""Files in the layouts of public archives, made from one analytic truth, and readers of them.

Each module has `make`, which writes files, and `read`, which reads one field back without xarray
and without the code under test. Names, dimensions, types and attributes are those of the archive.
"""
