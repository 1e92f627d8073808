"""Configuration: the schema, the variable table and the presets."""
