"""Values of fields at points: filled where there are none, interpolated between those of a grid."""
