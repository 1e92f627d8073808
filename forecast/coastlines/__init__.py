"""Natural Earth coastline at 1:110 m, shipped so that maps need no network."""
