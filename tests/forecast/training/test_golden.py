"""Losses of short training runs, one of each family of presets, against golden values.

The golden values are in `golden.json`. After a change that is meant to change them, or with another
version of torch that draws other weights, write them again:

    python -m tests.forecast.training.golden_runs
"""

import json

import pytest

from configs.files import preset_names
from forecast.model.network import Block
from tests.forecast.training.golden_runs import GOLDEN, SMALL, Losses, losses

pytestmark = pytest.mark.isa


TOLERANCE = 2e-6
"""Largest relative difference. The losses are recorded in float32, and the stores hold float32
fields, whose last digit may differ. With AVX-512 and with AVX2 they were equal."""


def differences(preset: str, found: Losses) -> list[str]:
    """Return descriptions of the values that differ from the golden ones."""
    assert GOLDEN.is_file(), f"{GOLDEN} is missing; see the docstring of {__name__}"
    golden = json.loads(GOLDEN.read_text())[preset]
    assert found.keys() == golden.keys()
    return [
        f"{name}, step {step}: {a}, golden {b}"
        for name in golden
        for step, (a, b) in enumerate(zip(found[name], golden[name], strict=True))
        if a != pytest.approx(b, rel=TOLERANCE)
    ]


def test_each_family_of_presets_has_a_golden_run():
    families = {name if name in SMALL else name.partition("_")[0] for name in preset_names()}
    assert set(SMALL) == families


@pytest.mark.parametrize("preset", SMALL)
def test_a_training_run_has_the_losses_of_before(preset, tmp_path):
    assert differences(preset, losses(preset, tmp_path)) == []


def test_a_thousandth_more_of_a_residual_is_noticed(monkeypatch, tmp_path):
    def forward(self, x):
        x = x + 1.001 * self.conv(x)
        return x + self.mlp(x)

    monkeypatch.setattr(Block, "forward", forward)
    found = differences("reanalysis", losses("reanalysis", tmp_path))
    assert any(line.startswith("train/gradient_norm, step 0") for line in found)
