"""The study of the atmosphere on a store of the model of the tests."""

import json
import sys

import numpy as np
import pytest
import torch
import xarray as xr

from benchmarks.accuracy.atmosphere import __main__ as command
from benchmarks.accuracy.atmosphere import decades, ensembles, lasting, packages, scaling, sizes
from benchmarks.accuracy.atmosphere import scores as atmosphere_scores
from benchmarks.accuracy.atmosphere.rows import build_of, config_of
from benchmarks.accuracy.atmosphere.runs import scored_part
from benchmarks.speed.measure import Timing
from configs.load import load_config
from configs.time.step import TimeStep
from data_prep.gcm.run import generate
from data_prep.store.reader import Store
from forecast.inference.models.cascade import Cascade
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package, save_package
from forecast.model.state import State
from forecast.training.train import chosen_part, train
from tests.data_prep.gcm.fake_model import fake_python

WORDS = [
    "gcm.last=2003-02-28", "gcm.first=2001-01-01", "data.time_step=1d", "data.variables=[z500, sp]",
    "data.splits={train: {first: '2001', last: '2002'}, validation: {first: 2003-01, last: "
    "2003-01}, test: {first: 2003-02, last: 2003-02}}",
    "model.channels=4", "training.steps=2", "training.validate_every=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atmosphere")
    config = load_config("atmosphere_smoke", WORDS)
    return generate(config, folder / "store.zarr", python=fake_python(folder))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(atmosphere_scores, "LEADS", (24, 48))
    monkeypatch.setattr(atmosphere_scores, "_STARTS", 3)


@pytest.mark.slow
def test_the_truth_itself_has_no_error_and_references_are_as_defined(data, small):
    store = chosen_part(load_config("atmosphere_smoke", WORDS), Store(data))
    sums = atmosphere_scores.Scores(store)
    at = store.split_indices("test")[[3, 9]]
    for lead in range(2):
        sums.add(lead, atmosphere_scores._predicted(store, at), at)
    scores = sums.scores()["z500"]
    assert scores["rmse"] == [0, 0] and scores["bias"] == [0, 0]
    np.testing.assert_allclose(scores["acc"], 1, rtol=1e-4)
    found = atmosphere_scores.references(store, "test")
    for of in found["climatology"].values():
        assert of["acc"] == [0, 0]
        np.testing.assert_allclose(np.mean(np.square(of["rmse"])), of["spread"] ** 2, rtol=1e-3)
    damped, kept = (found[n]["z500"]["rmse"] for n in ("damped persistence", "persistence"))
    assert damped[1] < kept[1]


@pytest.mark.slow
def test_runs_are_measured_once_and_collected(data, small, tmp_path, monkeypatch, capsys):
    words = ["atmosphere", "--data", str(data), "--out", str(tmp_path / "out"), "--preset",
             "atmosphere_smoke", "--rows", "global", "sfno", "--overrides", *WORDS]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    command.main()
    with monkeypatch.context() as second:
        second.setattr(command, "run", lambda *a, **k: pytest.fail("a run was done again"))
        command.main()
    found = json.loads((tmp_path / "out" / "atmosphere.json").read_text())
    assert [r["row"] for r in found["runs"]] == ["global", "sfno"]
    ours, peer = found["runs"]
    assert np.isfinite(ours["scores"]["z500"]["rmse"]).all()
    assert ours["year"]["True"]["steps"] == 30
    assert peer["parameters"] != ours["parameters"] and "commit" in peer
    assert found["references"]["persistence"]["sp"]["rmse"][0] > 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    more = ["--rows", "global", "--seeds", "1", "--days-only", "--overrides", *WORDS]
    monkeypatch.setattr(sys, "argv", [*words[:7], *more])
    command.main()
    record = json.loads((tmp_path / "out" / "validation" / "global-1.json").read_text())
    assert record["year"] == {} and np.isfinite(record["scores"]["z500"]["rmse"]).all()


@pytest.mark.slow
def test_a_peer_has_the_size_of_our_network_and_its_best_rate(data, small, tmp_path, monkeypatch):
    out = tmp_path / "out"
    words = ["atmosphere", "--data", str(data), "--out", str(out), "--preset", "atmosphere_smoke",
             "--days-only", "--rates", "1e-9", "1e-2", "--rate-overrides", "training.steps=20",
             "--rows", "all", "sfno", "sfno-time", "--overrides", *WORDS]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(sizes, "interleaved", timed_by_channels)
    command.main()
    content = json.loads((out / "atmosphere.json").read_text())
    found = {r["row"]: r for r in content["runs"]}
    ours, equal, timed = (found[name] for name in ("all", "sfno", "sfno-time"))
    channels = equal["configuration"]["model"]["channels"]
    counts = {n: peer_parameters(data, n) for n in (channels - 1, channels, channels + 1)}
    target = np.log(ours["parameters"])
    assert counts[channels] == equal["parameters"]
    assert min(counts, key=lambda n: abs(np.log(counts[n]) - target)) == channels
    assert timed["configuration"]["model"]["channels"] == 7
    for record in found.values():
        assert record["configuration"]["training"]["learning_rate"] == 1e-2
        assert record["configuration"]["training"]["steps"] == 2
    tried = content["rates"]
    errors = {name: r["validation"]["validation/relative_l2"] for name, r in tried.items()}
    assert len(tried) == 6
    assert errors["all-0.01-0"] < errors["all-1e-09-0"]
    # What was found holds for further seeds, with the overrides of their own command.
    more = ["--seeds", "1", "--rows", "sfno", "--overrides", *WORDS, "training.steps=3"]
    monkeypatch.setattr(sys, "argv", [*words[:8], *more])
    command.main()
    record = json.loads((out / "validation" / "sfno-1.json").read_text())["configuration"]
    assert record["model"]["channels"] == channels
    assert record["training"]["steps"] == 3 and record["training"]["learning_rate"] == 1e-2


def timed_by_channels(steps, runs, device):
    """Times that make a peer of 7 channels as fast as ours."""
    n = steps["peer"].func.__self__.forecaster.config.channels
    return {"peer": Timing(n, n), "ours": Timing(7, 7)}


def peer_parameters(data, channels):
    words = [*WORDS, "model.mlp_ratio=2", f"model.channels={channels}"]
    config = config_of("atmosphere_smoke", "sfno", 0, words)
    store = chosen_part(config, Store(data))
    network = Forecaster.from_store(config.model, store, build_of("sfno")).network
    return sum(network.parameter_counts().values())


def test_forecasts_of_models_with_history_start_from_the_states_before(data, small):
    config = load_config("atmosphere_smoke", [*WORDS, "model.history=2"])
    store = chosen_part(config, Store(data))
    forecaster = Forecaster.from_store(config.model, store).eval()
    starts = store.split_indices("test")[[0, 3]]
    _, fields = next(atmosphere_scores.forecast_steps(forecaster, store, starts, 1))
    state = torch.stack([store.state(0, int(i)) for i in starts])[:, :2].float()
    before = torch.stack([store.state(0, int(i) - 1) for i in starts])[:, :2].float()
    times = np.array([store.valid_time(0, int(i)) for i in starts])
    given = (
        atmosphere_scores.given_forcing(store, starts + 1) if forecaster.forcing_channels else None
    )
    with torch.inference_mode():
        expected = forecaster.step(State(state, times, (before,)), given).fields
    torch.testing.assert_close(fields, expected)


def test_a_model_of_longer_steps_is_scored_on_the_times_of_the_store(data, small):
    """A network that gives 0 is persistence; the starts are those of all models."""
    config = load_config("atmosphere_smoke", [*WORDS, "model.history=2"])
    section = config.data.model_copy(update={"time_step": "2d"})
    long = config.model_copy(update={"data": section})
    forecaster = Forecaster.from_store(config.model, chosen_part(long, Store(data))).eval()
    torch.nn.init.zeros_(forecaster.network.decoder.weight)
    torch.nn.init.zeros_(forecaster.network.decoder.bias)
    forecaster.remove_limiters()
    store = scored_part(long, Store(data))
    assert store.time_step.label == "1d" and atmosphere_scores.stride_of(forecaster, store) == 2
    state = atmosphere_scores.initial_state(forecaster, store, np.array([9]))
    before = store.state(0, 7)[None, :2].float()
    torch.testing.assert_close(state.history[0], before, rtol=0, atol=0)
    found = atmosphere_scores.forecast_scores([forecaster], store, "validation")
    kept = atmosphere_scores.references(store, "validation")["persistence"]
    for name, of in found.items():
        assert np.isnan(of["rmse"][0])
        assert of["rmse"][1] == pytest.approx(kept[name]["rmse"][1], rel=1e-4)
        assert of["spread"] > 0
    with pytest.raises(ValueError, match="no multiple of the 1d"):
        forecaster.time_step = TimeStep.parse("6h")
        atmosphere_scores.stride_of(forecaster, store)


def test_the_mean_of_models_is_scored_at_the_lead_times_that_all_reach(data, small):
    config = load_config("atmosphere_smoke", [*WORDS, "model.persistent_mean=[]"])
    store = chosen_part(config, Store(data))
    models = [Forecaster.from_store(config.model, store).eval() for _ in range(2)]
    for size, model in enumerate(models):
        torch.nn.init.constant_(model.network.decoder.bias, 0.1 * size)
        model.remove_limiters()
    cascade = Cascade(models, [1])

    def bias(*of):
        found = atmosphere_scores.forecast_scores(of, store, "validation")
        return np.array(found["z500"]["bias"], float)

    still, rising = bias(models[0]), bias(models[1])
    assert (rising > still + 1).all()
    np.testing.assert_allclose(bias(*models), (still + rising) / 2, rtol=1e-3)
    after = bias(cascade)
    np.testing.assert_allclose(after[0], still[0], rtol=1e-5)
    np.testing.assert_allclose(after[1] - still[1], (rising[1] - still[1]) / 2, rtol=1e-3)
    models[1].time_step = TimeStep.parse("2d")
    assert np.isnan(bias(*models)[0]) and np.isfinite(bias(*models)[1])


@pytest.mark.slow
def test_rollouts_of_years_are_compared_with_the_truth(data, tmp_path, monkeypatch, capsys):
    words = [*WORDS, "tracking.enabled=false", "model.range_limit=0.25"]
    config = load_config("atmosphere_smoke", words)
    train(config, data, tmp_path / "run")
    words = ["decades", str(tmp_path / "run" / "best"), "--data", str(data), "--years", "2",
             "--out", str(tmp_path / "out"), "--every", "1"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    decades.main()
    (row,) = json.loads((tmp_path / "out" / "decades.json").read_text())["rows"]
    assert row["years"] == 2 and row["limiter"] and row["reports"] == []
    with xr.open_dataset(tmp_path / "out" / f"{row['package']}.nc") as climate:
        means = climate["global_mean"].sel(channel="z500")
    difference = float(means.sel(source="forecast") - means.sel(source="truth"))
    assert row["drift"]["z500"]["mean_difference"] == pytest.approx(difference)
    assert row["drift"]["z500"]["truth_yearly_deviation"] > 0
    assert np.isfinite(row["cycle_ratio"]["z500"]) and len(row["power_ratio"]["sp"]) > 20
    acts = row["acts"]
    assert acts["limiter"]["steps"] == acts["range_limiter"]["steps"] == 730
    assert 0 <= acts["range_limiter"]["of_values"] < acts["range_limiter"]["of_steps"] <= 1
    assert row["package"] in capsys.readouterr().out


@pytest.mark.slow
def test_the_best_perturbation_is_taken_to_the_test_split(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ensembles, "LEADS", (24, 48))
    monkeypatch.setattr(ensembles, "_CHOSEN_AT", 48)
    run, out = tmp_path / "run", tmp_path / "out"
    train(load_config("atmosphere_smoke", [*WORDS, "tracking.enabled=false"]), data, run)
    tried = ["field:amplitude=0.1,length=2000km", "field:amplitude=30,length=2000km"]
    words = ["ensembles", str(run / "best"), "--data", str(data), "--out", str(out),
             "--members", "3", "--starts", "2", "--perturbations", *tried]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    ensembles.main()
    first = capsys.readouterr().out
    found = json.loads((out / "ensembles.json").read_text())
    assert found["chosen"] == tried[0] and found["leads_hours"] == [24, 48]
    crps = [found["validation"][text]["scores"]["crps"]["z500"][1] for text in tried]
    assert crps[0] < crps[1]
    single, several = (found["test"][name] for name in ("single", "ensemble"))
    assert single["starts"] == several["starts"] and len(single["starts"]) == 2
    assert "spread_skill" in several["scores"] and "spread_skill" not in single["scores"]
    assert 0 < single["scores"]["crps"]["sp"][0] <= single["scores"]["rmse"]["sp"][0]
    ensembles.main()  # nothing is done again
    assert capsys.readouterr().out == first


@pytest.mark.slow
def test_ensembles_of_a_model_with_noise_start_from_the_truth(data, tmp_path, monkeypatch):
    monkeypatch.setattr(ensembles, "LEADS", (24, 48))
    monkeypatch.setattr(ensembles, "_CHOSEN_AT", 48)
    noise = ["model.noise={length_scales: [2000km]}", "training.loss=crps", "training.members=2"]
    run, out = tmp_path / "run", tmp_path / "out"
    train(load_config("atmosphere_smoke", [*WORDS, *noise, "tracking.enabled=false"]), data, run)
    words = ["ensembles", str(run / "best"), "--data", str(data), "--out", str(out),
             "--members", "3", "--starts", "2", "--perturbations", "none"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    ensembles.main()
    found = json.loads((out / "ensembles.json").read_text())
    assert found["chosen"] == "none"
    assert found["test"]["ensemble"]["scores"]["spread_skill"]["z500"][0] > 0
    with xr.open_zarr(out / "test-none" / "forecast.zarr") as file:
        assert not file.attrs.get("perturbations")
        assert file.sizes["member"] == 3


@pytest.mark.slow
def test_members_take_several_packages_in_turn(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ensembles, "LEADS", (24, 48))
    monkeypatch.setattr(ensembles, "_CHOSEN_AT", 48)
    folders = [tmp_path / name for name in ("a", "b")]
    for seed, run in enumerate(folders):
        words = [*WORDS, "tracking.enabled=false", f"training.seed={seed}"]
        train(load_config("atmosphere_smoke", words), data, run)
    packages = [str(run / "best") for run in folders]
    words = ["ensembles", *packages, "--data", str(data), "--out", str(tmp_path / "out"),
             "--members", "2", "--starts", "2", "--perturbations", "none"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    ensembles.main()
    found = json.loads((tmp_path / "out" / "ensembles.json").read_text())
    assert found["members"] == 2 and [of["seed"] for of in found["packages"]["models"]] == [0, 1]
    assert found["packages"]["members"] == [["0"], ["1"]]
    assert found["test"]["ensemble"]["scores"]["spread_skill"]["z500"][1] > 0
    with xr.open_zarr(tmp_path / "out" / "test-single" / "forecast.zarr") as file:
        assert "member" not in file.sizes and "a/best" in file.source
    monkeypatch.setattr(sys, "argv", ["ensembles", packages[1], *words[3:]])
    with pytest.raises(SystemExit):
        ensembles.main()
    assert "holds forecasts of other packages" in capsys.readouterr().err


@pytest.mark.slow
def test_packages_are_scored_on_the_states_of_a_store(data, small, tmp_path, monkeypatch):
    config = load_config("atmosphere_smoke", [*WORDS, "tracking.enabled=false"])
    train(config, data, tmp_path / "run")
    path, best = tmp_path / "scores.json", str(tmp_path / "run" / "best")
    words = ["packages", best, "--names", "small", "--data", str(data), "--split", "test"]
    monkeypatch.setattr(sys, "argv", [*words, "--json", str(path)])
    packages.main()
    found = json.loads(path.read_text())
    (run,) = found["runs"]
    store = Store(data)
    expected = atmosphere_scores.forecast_scores([load_package(best).eval()], store, "test")
    assert run["row"] == "small" and run["scores"] == expected
    assert set(found["references"]) == {"persistence", "climatology", "damped persistence"}
    words = ["packages", best, f"{best},1d,{best}", "--names", "mean", "mean", "--data", str(data)]
    splits = "{train: {first: '2001', last: '2002'}, validation: {first: 2003-02, last: 2003-02}, "
    splits += "test: {first: 2003-01, last: 2003-01}}"
    words += ["--split", "validation", "--splits", splits]  # the test times of the store
    monkeypatch.setattr(sys, "argv", [*words, "--json", str(path)])
    packages.main()
    (mean,) = json.loads(path.read_text())["runs"]
    assert mean["members"] == [["0"], ["0", "1d", "0"]] and len(mean["models"]) == 1
    for name, of in expected.items():
        assert mean["scores"][name]["rmse"] == pytest.approx(of["rmse"], rel=1e-5)
    monkeypatch.setattr(Forecaster, "channel_names", ("z500", "t2m"))
    with pytest.raises(ValueError, match="forecasts z500, t2m, but .* has z500, sp; give a store"):
        packages.main()


@pytest.mark.slow
def test_forecasts_that_go_wrong_are_counted(data, tmp_path, monkeypatch, capsys):
    config = load_config("atmosphere_smoke", [*WORDS, "model.range_limit=1"])
    store = chosen_part(config, Store(data))
    for name, size in {"calm": 0.0, "wild": 100.0}.items():
        forecaster = Forecaster.from_store(config.model, store)
        torch.nn.init.normal_(forecaster.network.decoder.weight, std=size)
        save_package(forecaster, tmp_path / name)
    path = tmp_path / "lasting.json"
    words = ["lasting", *(str(tmp_path / name) for name in ("calm", "wild")), "--names", "calm"]
    words += ["wild", "--data", str(data), "--starts", "3", "--days", "2", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", words)
    lasting.main()
    calm, wild = json.loads(path.read_text())["runs"]
    for key in ("with limits", "without limits"):
        assert calm[key] == [None] * 3 and wild[key] == [1] * 3
    assert "wild           limits True  3 of 3 [1, 1, 1]" in capsys.readouterr().out


@pytest.mark.slow
def test_errors_by_size_and_years_are_collected_and_drawn(data, small, tmp_path, monkeypatch):
    for module in (scaling, atmosphere_scores):
        monkeypatch.setattr(module, "LEADS", (6, 24, 48))  # 6 h lie within a step
    monkeypatch.setattr(scaling, "_DRAWN", (6, 48))
    words = ["scaling", "--data", str(data), "--out", str(tmp_path), "--preset", "atmosphere_smoke",
             "--channels", "2", "4", "--years", "1", "2", "--base-channels", "4", "--figure",
             str(tmp_path / "f.png"), "--overrides", *WORDS]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    scaling.main()
    found = json.loads((tmp_path / "scaling.json").read_text())
    assert [(r["channels"], r["years"]) for r in found["runs"]] == [(2, 2), (4, 2), (4, 1)]
    assert set(found["exponents"]) == {"parameters", "years"}
    within, *of_steps = found["exponents"]["years"]
    assert within is None and np.isfinite(of_steps).all() and len(of_steps) == 2
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_exponents_are_those_of_a_power_law():
    runs = [{"parameters": n, "errors": [0.5 * n**-0.25, 2.0]} for n in (10, 30, 100)]
    assert scaling.fit(runs, "parameters") == pytest.approx([-0.25, 0])


def test_each_axis_compares_runs_that_differ_in_it_alone():
    runs = [{"channels": c, "years": y, "parameters": 9 * c, "latitudes": 32, "errors": [1.0]}
            for c, y in ((8, 2), (16, 2), (16, 1))]  # fmt: skip
    finer = [{**run, "latitudes": 48} for run in runs]
    found = scaling.series_of(runs, 16, finer)
    assert found == {
        "parameters": runs[:2],
        "years": runs[1:],
        "latitudes": [runs[1], finer[1]],
    }
    assert list(scaling.series_of(runs[:2], 16)) == ["parameters"]


def test_the_first_time_outside_the_range_of_the_truth_is_found(data, tmp_path):
    store, days = Store(data), np.arange(4).astype("timedelta64[D]").astype("timedelta64[ns]")
    low, high = (float(store.statistics[k].flatten()[0]) for k in ("minimum", "maximum"))
    for top, expected in ((1.4, None), (1.6, {"channel": "z500", "days": 2.0})):
        values = np.full((1, 4, 2, 3), low)
        values[0, 2, 1, 1] = low + top * (high - low)
        dims = ("init_time", "lead_time", "latitude", "longitude")
        file = xr.Dataset({"z500": (dims, values)}, {"lead_time": days})
        file.to_zarr(tmp_path / f"{top}.zarr", zarr_format=2)
        assert decades.leaves_range(tmp_path / f"{top}.zarr", store) == expected


def test_moments_of_equal_states_agree_and_those_of_others_do_not(data):
    store = chosen_part(load_config("atmosphere_smoke", WORDS), Store(data))
    ours, truth = (atmosphere_scores._Moments(store) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        x = torch.randn(2, 2, *store.grid.shape, generator=generator)
        ours.add(2 * x + 1)
        truth.add(x)
    for of in ours.compare(truth).values():
        np.testing.assert_allclose(of["bias"], 1, atol=0.1)
        np.testing.assert_allclose(of["deviation_ratio"], 2, rtol=1e-3)
        np.testing.assert_allclose(of["power_ratio"][5:], 4, rtol=0.01)
        np.testing.assert_allclose(of["pattern_correlation"], 1, rtol=1e-3)
