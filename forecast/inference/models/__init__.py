"""Models of a rollout: loading of packages, and cascades of several."""
