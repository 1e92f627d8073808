"""Packages in earth2studio: the protocol of its prognostic models, and its own workflow."""

from collections import OrderedDict
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.rollout import rollout
from forecast.interop.earth2studio import Earth2Model
from forecast.model.forecaster import Forecaster
from forecast.model.package import save_package
from forecast.model.state import State


def build(path: Path, **settings: object) -> Forecaster:
    torch.manual_seed(0)
    config = {"branches": {"spectral": {"lmax": 8}}, "channels": 6, "blocks": 1, **settings}
    forecaster = Forecaster.from_store(ModelConfig.model_validate(config), Store(path))
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.1)
    return forecaster


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("e2") / "store.zarr"
    channels = ("u10", "t850", "z500")
    return make_store(path, "files", channels=channels, time_step="6h", n_times=24)


def inputs(model: Earth2Model, store: Path, members: int) -> tuple[torch.Tensor, OrderedDict]:
    """Return states of a store with dims (ensemble, time, lead_time, variable, lat, lon)."""
    states = Store(store).states(0, 0, 24)
    seen = len(model.input_coords()["lead_time"])
    starts = np.arange(seen - 1, 24, 8)[:2]
    x = torch.stack([states[i - seen + 1 : i + 1] for i in starts])  # (time, lead, c, h, w)
    x = torch.stack([x + member for member in range(members)])
    coords = model.input_coords()
    del coords["batch"]
    coords["time"] = Store(store).time[starts]
    coords = OrderedDict(ensemble=np.arange(members), **coords)
    return x, coords


@pytest.mark.parametrize("history", [1, 2])
def test_its_iterator_gives_the_states_of_our_rollout(store: Path, history: int) -> None:
    forecaster = build(store, history=history, forcing=["insolation"])
    model = Earth2Model(forecaster)
    x, coords = inputs(model, store, members=2)
    found = list(islice(model.create_iterator(x, coords), 4))
    assert [list(c["lead_time"] / np.timedelta64(6, "h")) for _, c in found] == [[0], [1], [2], [3]]
    torch.testing.assert_close(found[0][0], x[:, :, -1:], rtol=0, atol=0)
    for member in range(2):
        for t, time in enumerate(coords["time"]):
            state = State.from_series(x[member, t][None], np.array([time]))
            for (fields, at), step in zip(found[1:], rollout(forecaster, state, 3), strict=True):
                assert fields.shape == (2, 2, 1, 3, 8, 16) and list(at["ensemble"]) == [0, 1]
                torch.testing.assert_close(fields[member, t, 0], step.fields[0])


def test_members_of_a_model_with_noise_are_those_of_our_rollout(store: Path) -> None:
    noise = {"length_scales": ["4000km"], "channels": 2, "correlation_time": "1d"}
    forecaster = build(store, noise=noise)
    with torch.no_grad():
        for weights in forecaster.parameters():
            weights.add_(0.05 * torch.randn_like(weights))  # the first weights of noise are 0
    model = Earth2Model(forecaster, seed=5)
    x, coords = inputs(model, store, members=1)
    x = x.repeat(2, 1, 1, 1, 1, 1)
    coords["ensemble"] = np.arange(2)
    *_, (last, _) = islice(model.create_iterator(x, coords), 4)
    assert (last[0] - last[1]).abs().max() > 1e-3
    start = coords["time"][1]
    state = State(x[1, 1], coords["time"][1:])
    seconds = int(start.astype("datetime64[s]").astype(int))
    state = forecaster.with_noise(state, [(5, seconds, 0, 1)])
    *_, expected = rollout(forecaster, state, 3)
    torch.testing.assert_close(last[1, 1], expected.fields)


def test_channels_have_the_names_of_its_vocabulary(store: Path) -> None:
    model = Earth2Model(build(store))
    assert list(model.input_coords()["variable"]) == ["u10m", "t850", "z500"]
    assert list(model.input_coords()) == ["batch", "time", "lead_time", "variable", "lat", "lon"]


def test_hooks_see_and_change_the_states_between_steps(store: Path) -> None:
    model = Earth2Model(build(store))
    x, coords = inputs(model, store, members=1)
    plain = list(islice(model.create_iterator(x, coords), 2))[1][0]
    model.rear_hook = lambda fields, at: (fields + 1, at)
    changed = list(islice(model.create_iterator(x, coords), 2))[1][0]
    torch.testing.assert_close(changed, plain + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variable": np.array(["u10m", "t850", "q"])}, "variables u10m, t850, q; expected u10m"),
        ({"lat": np.linspace(90, -90, 8)}, "lat of 8 points is not that of the model's grid"),
        ({"lead_time": np.array([-6, 0], "timedelta64[h]")}, "lead times .* expected 1, "),
        ({"lev": np.array([1])}, "dimensions ensemble.*lev; expected any, then time"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(store: Path, change: dict, message: str) -> None:
    model = Earth2Model(build(store))
    x, coords = inputs(model, store, members=1)
    with pytest.raises(ValueError, match=message):
        next(iter(model.create_iterator(x, OrderedDict({**coords, **change}))))


def test_a_model_that_it_cannot_follow_is_refused(make_store, tmp_path: Path) -> None:
    monthly = make_store(tmp_path / "m.zarr", "files")
    with pytest.raises(ValueError, match="the model steps by 1mo .* use `forecast rollout`"):
        Earth2Model(build(monthly))


def test_its_own_workflow_runs_a_package(store: Path, tmp_path: Path) -> None:
    run = pytest.importorskip("earth2studio.run", reason="earth2studio is not installed")
    from earth2studio.data import Random
    from earth2studio.io import XarrayBackend
    from earth2studio.models.px.base import PrognosticModel

    save_package(build(store, history=2), tmp_path / "package")
    model = Earth2Model.from_package(tmp_path / "package")
    assert isinstance(model, PrognosticModel)
    coords = model.input_coords()
    source = Random(OrderedDict(lat=coords["lat"], lon=coords["lon"]))
    io = run.deterministic(["2020-01-01"], 3, model, source, XarrayBackend(), device="cpu")
    found = io.root["t850"]
    assert found.shape == (1, 4, 8, 16) and np.isfinite(found).all()
