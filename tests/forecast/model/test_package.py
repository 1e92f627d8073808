import json
import os

import numpy as np
import pytest
import torch

from configs import layout
from configs.model import ModelConfig
from configs.schema import RolloutConfig
from data_prep.store.reader import Store
from forecast.model import package as package_module
from forecast.model import tensor_folder
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package, rollout_defaults, save_package
from forecast.model.state import State


@pytest.fixture(
    scope="module", params=[{"baseline": "climatology"}, {"climatology_input": True}], ids=str
)
def forecaster(request, make_store, tmp_path_factory):
    path = make_store(tmp_path_factory.mktemp("s") / "store.zarr", "files", mask=True)
    config = ModelConfig.model_validate(
        {
            "branches": {"spectral": {"lmax": 6}, "differential": {"order": 2}},
            "channels": 4,
            "blocks": 1,
            "static": ["sin_latitude", "orography"],
            "forcing": ["cos_year"],
            **request.param,
        }
    )
    made = Forecaster.from_store(config, Store(path)).eval()
    with torch.no_grad():
        made.network.decoder.weight.normal_()
    return made


def test_a_loaded_package_forecasts_what_was_saved(forecaster, tmp_path):
    save_package(forecaster, tmp_path / "package", training={"step": 3})
    loaded = load_package(tmp_path / "package")
    time = np.array(["2001-02-01", "2001-11-01"], "datetime64[ns]")
    state = State(torch.randn(2, 2, 8, 16), time)
    found, expected = loaded.step(state).fields, forecaster.step(state).fields
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert loaded.channels == forecaster.channels
    assert loaded.grid == forecaster.grid
    assert loaded.time_step == forecaster.time_step


def test_a_run_folder_stands_for_its_package(forecaster, tmp_path):
    save_package(forecaster, tmp_path / "run" / "package")
    assert load_package(tmp_path / "run").channel_names == forecaster.channel_names


def test_a_package_is_replaced_in_place(forecaster, tmp_path):
    for step in (1, 2):
        save_package(forecaster, tmp_path / "p", training={"step": step})
    assert json.loads((tmp_path / "p/package.json").read_text())["training"]["step"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_a_failed_write_leaves_the_last_package_readable(forecaster, tmp_path, monkeypatch):
    save_package(forecaster, tmp_path / "p", training={"step": 1})

    def full_disk(tensors, path):
        path.write_bytes(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensor_folder, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_package(forecaster, tmp_path / "p", training={"step": 2})
    assert load_package(tmp_path / "p").grid == forecaster.grid
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_damaged_packages_are_refused_in_one_sentence(forecaster, tmp_path):
    with pytest.raises(FileNotFoundError, match="no package at"):
        load_package(tmp_path / "absent")
    save_package(forecaster, tmp_path / "p")
    description = tmp_path / "p/package.json"
    text = description.read_text()
    version = layout.PACKAGE_VERSION
    now = f'"format_version": {version}'
    description.write_text(text.replace(now, f'"format_version": {version + 1}'))
    expected = f"version {version + 1}, this program reads up to {version}; install a newer"
    with pytest.raises(ValueError, match=expected):
        load_package(tmp_path / "p")
    description.write_text(text.replace(now, f'"format_version": {version - 1}'))
    with pytest.raises(ValueError, match="blocks of its network are no longer known; load it with"):
        load_package(tmp_path / "p")
    description.write_text(text.replace(now, '"format_version": null'))
    with pytest.raises(ValueError, match="is damaged .format version None"):
        load_package(tmp_path / "p")
    description.write_text(text[:50])
    with pytest.raises(ValueError, match="is damaged"):
        load_package(tmp_path / "p")
    description.write_text(text.replace('"channels": 4', '"channels": 5'))
    with pytest.raises(ValueError, match="is damaged"):
        load_package(tmp_path / "p")
    description.write_text(text.replace('"time_step"', '"time_stop"'))
    with pytest.raises(ValueError, match="is damaged .it has no 'time_step'."):
        load_package(tmp_path / "p")
    description.write_text(text)
    weights = tmp_path / "p/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        load_package(tmp_path / "p")


def test_one_changed_byte_of_the_weights_is_noticed(forecaster, tmp_path):
    save_package(forecaster, tmp_path / "p")
    weights = tmp_path / "p/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"model.safetensors is damaged .its SHA-256 .* copy"):
        load_package(tmp_path / "p")


def test_a_kill_between_the_two_files_of_a_package_leaves_one_that_loads(
    forecaster, tmp_path, monkeypatch
):
    save_package(forecaster, tmp_path / "p", training={"step": 1})
    replace = os.replace

    def killed(source, target):
        if target.name == "model.safetensors":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with torch.no_grad():
        forecaster.network.decoder.bias.add_(1.0)
    with pytest.raises(KeyboardInterrupt):
        save_package(forecaster, tmp_path / "p", training={"step": 2})
    assert load_package(tmp_path / "p").grid == forecaster.grid


def test_a_package_that_is_replaced_while_it_is_read_loads(forecaster, tmp_path, monkeypatch):
    save_package(forecaster, tmp_path / "p", training={"step": 1})
    read = package_module.read_description

    def read_then_replace(path):
        monkeypatch.setattr(package_module, "read_description", read)
        description = read(path)
        with torch.no_grad():
            forecaster.network.decoder.bias.add_(1.0)
        save_package(forecaster, path, training={"step": 2})
        return description

    monkeypatch.setattr(package_module, "read_description", read_then_replace)
    loaded = load_package(tmp_path / "p")
    assert torch.equal(loaded.network.decoder.bias, forecaster.network.decoder.bias)


def test_a_package_holds_the_defaults_of_its_forecasts(forecaster, tmp_path):
    defaults = RolloutConfig(n_steps=7, batch_size=3)
    save_package(forecaster, tmp_path / "p", rollout=defaults)
    assert rollout_defaults(tmp_path / "p") == defaults
    description = tmp_path / "p/package.json"
    description.write_text(description.read_text().replace('"n_steps": 7', '"n_steps": "x"'))
    with pytest.raises(ValueError, match=r"package.json is damaged .rollout holds"):
        rollout_defaults(tmp_path / "p")
