"""From solver runs or gridded files to the training store."""
