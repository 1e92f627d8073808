"""Samples of a training step: windows of a store in shuffled batches, and predicted states."""
