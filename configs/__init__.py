"""What can be configured: the schema, the variable table and the presets."""
