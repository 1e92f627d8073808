"""What the tests of the operators share: the same random numbers in every run."""

import pytest
import torch

from sphere_ops.engine import plan


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(7)


@pytest.fixture(params=["folded", "direct"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spectral branch with folded hemispheres, as for few channels, and as for many."""
    if request.param == "direct":
        monkeypatch.setattr(plan, "_FEWEST_DIRECT_CHANNELS", 1)
