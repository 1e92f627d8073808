"""The circulation model jcm, where an interpreter has it."""

import numpy as np
import pytest

from configs.load import load_config
from data_prep.gcm.process import find_python
from data_prep.gcm.run import generate
from data_prep.store.reader import Store

CONFIG = load_config("atmosphere_smoke", ["gcm.first=2001-01-31", "gcm.last=2001-02-02"])


@pytest.fixture(scope="module")
def python() -> str:
    try:
        return find_python()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_two_runs_are_equal_and_a_member_differs(tmp_path, python):
    first = Store(generate(CONFIG, tmp_path / "a.zarr", python=python))
    second = Store(generate(CONFIG, tmp_path / "b.zarr", python=python))
    other = load_config("atmosphere_smoke", [
        "gcm.first=2001-01-31", "gcm.last=2001-02-02", "gcm.member=1", "gcm.perturbation=0.1",
    ])  # fmt: skip
    third = Store(generate(other, tmp_path / "c.zarr", python=python))
    i = first.channel_names.index("t850")
    for n in range(12):
        np.testing.assert_array_equal(first.state(0, n).numpy(), second.state(0, n).numpy())
    assert 1e-3 < float((first.state(0, 11)[i] - third.state(0, 11)[i]).abs().max()) < 20
    assert 240 < float(first.state(0, 11)[i].mean()) < 300
