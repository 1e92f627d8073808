"""Fixtures of the tests of the operators: the same random numbers in every run."""

import pytest
import torch


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(7)
