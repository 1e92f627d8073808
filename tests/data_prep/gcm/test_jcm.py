"""The circulation models, where an interpreter has them."""

import numpy as np
import pytest
import torch

from configs.load import load_config
from data_prep.gcm.process import find_python
from data_prep.gcm.run import generate
from data_prep.store.reader import Store
from sphere_ops.parallel.fields import area_mean

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


@pytest.mark.slow
def test_the_dry_model_relaxes_to_its_profile_and_keeps_its_mass(tmp_path, python):
    words = [
        "gcm.truncation=21", "gcm.spin_up=20d", "gcm.last=2001-01-04",
        "data.grid={kind: legendre-gauss, nlat: 32, nlon: 64}",
        "data.splits={train: 0.5, validation: 0.25, test: 0.25}",
    ]  # fmt: skip
    found = []
    for name, more in {"a": [], "b": [], "c": ["gcm.member=1", "gcm.perturbation=0.1"]}.items():
        config = load_config("held_suarez", [*words, *more])
        store = Store(generate(config, tmp_path / f"{name}.zarr", python=python))
        found.append({c: store.state(0, 15)[i] for i, c in enumerate(store.channel_names)})
    first, second, other = found
    assert all(torch.equal(first[c], second[c]) for c in first)
    assert 1e-3 < float((first["t850"] - other["t850"]).abs().max()) < 20
    # From rest at 288 K: after 20 days warm at the equator, and cold at both poles alike.
    zonal = first["t500"].mean(-1)
    assert zonal[15:17].mean() > zonal[[0, -1]].mean() + 10
    torch.testing.assert_close(zonal, zonal.flip(0), atol=1.0, rtol=0)
    mass = area_mean(first["sp"], store.grid)
    assert float(mass) == pytest.approx(1e5, rel=1e-4)
