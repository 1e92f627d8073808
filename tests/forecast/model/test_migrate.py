import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from configs import layout
from configs.schema import RolloutConfig
from forecast.model import migrate
from forecast.model.package import load_package, rollout_defaults, save_package
from forecast.model.state import State

VERSION_1 = Path(__file__).parents[1] / "packages/version_1"
"""A package written when the climatology was no input yet, and one step that its program made."""


def test_a_package_of_version_1_makes_the_forecast_that_it_made_then():
    forecaster = load_package(VERSION_1)
    step = np.load(VERSION_1 / "step.npz")
    with torch.no_grad():
        following = forecaster.step(State(torch.from_numpy(step["state"]), step["time"]))
    expected = torch.from_numpy(step["following"])
    torch.testing.assert_close(following.fields, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_a_package_of_version_1_has_the_built_in_defaults_of_a_forecast(tmp_path):
    package = tmp_path / "run/best"
    shutil.copytree(VERSION_1, package)
    (tmp_path / "run/config.yaml").write_text("rollout: {n_steps: 7}")
    assert rollout_defaults(package) == RolloutConfig()


def test_a_migrated_package_is_saved_as_one_of_today(tmp_path):
    save_package(load_package(VERSION_1), tmp_path / "p")
    description = json.loads((tmp_path / "p/package.json").read_text())
    assert description["format_version"] == layout.PACKAGE_VERSION
    assert description["model"]["mlp"] == "gelu"
    assert description["model"]["branches"]["differential"]["fit_lmax"] is None
    again = load_file(tmp_path / "p/model.safetensors")
    assert again["network.encoder.weight"].shape == (4, 8)
    assert load_package(tmp_path / "p").config == load_package(VERSION_1).config


def test_a_network_that_is_gone_is_refused_in_words(tmp_path):
    package = tmp_path / "p"
    shutil.copytree(VERSION_1, package)
    tensors = load_file(package / "model.safetensors")
    tensors["network.encoder.0.weight"] = tensors.pop("network.encoder.weight")
    save_file(tensors, package / "model.safetensors")
    with pytest.raises(ValueError, match="encoder of two layers, which is no longer known"):
        load_package(package)


def test_migrations_run_in_the_order_of_the_versions(monkeypatch):
    seen = []
    monkeypatch.setattr(layout, "PACKAGE_VERSION", 4)
    monkeypatch.setattr(
        migrate,
        "MIGRATIONS",
        {n: lambda d, t, n=n: seen.append((n, d["format_version"])) for n in (3, 1, 2)},
    )
    description = {"format_version": 2}
    migrate.migrate(description, {})
    assert seen == [(2, 2), (3, 3)] and description["format_version"] == 4


def test_every_earlier_version_has_its_migration():
    assert sorted(migrate.MIGRATIONS) == list(range(1, layout.PACKAGE_VERSION))
