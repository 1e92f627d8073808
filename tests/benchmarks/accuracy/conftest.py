"""Tiny study of the strong flow: stores that the tests of its parts share."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy.study.experiments import STRONG, Experiment, prepare, quick
from data_prep.store.reader import Store


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    return quick(STRONG)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="session")
def stores(tiny: Experiment, tiny_folder: Path) -> dict[str, Store]:
    """Stores of the training, and of validation and its long rollouts."""
    parts = ("train", "validation", "validation-long")
    return {part: prepare(tiny, part, tiny_folder) for part in parts}
