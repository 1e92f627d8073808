"""Training stores and their sources: the shallow-water solver and gridded files."""
