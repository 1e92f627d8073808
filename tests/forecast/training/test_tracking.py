import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from forecast.training.tracking import recorder
from forecast.training.tracking.comparison import compare, find_runs
from forecast.training.tracking.git import git_commit
from forecast.training.tracking.mlflow_tracker import (
    MLflowTracker,
    RunSummary,
    flatten,
    list_runs,
    page_hint,
)
from forecast.training.tracking.recorder import MetricsFile, MetricsUploader, read_metrics
from forecast.training.tracking.tracker import RunDescription

pytestmark = pytest.mark.filterwarnings("ignore")  # mlflow's own


class Memory:
    """Tracker that keeps all records in lists, and can be switched off as a server that is down."""

    def __init__(self):
        self.down, self.calls, self.records, self.artifacts = False, 0, [], []
        self.started, self.finished = [], []

    def _check(self):
        self.calls += 1
        if self.down:
            raise ConnectionError("no route to host\nand a long explanation")

    def start(self, run, run_id):
        self._check()
        self.started.append(run_id)
        return run_id or "run-1"

    def metrics(self, run_id, records):
        self._check()
        self.records += records

    def artifact(self, run_id, path, folder):
        self._check()
        self.artifacts.append((path.name, folder))

    def model(self, run_id, package):
        self._check()
        self.artifacts.append((package.name, "model"))

    def finish(self, run_id, completed):
        self._check()
        self.finished.append(completed)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(recorder, "_EVERY", 0.01)
    monkeypatch.setattr(recorder, "_LONGEST_PAUSE", 0.02)


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 5 s")


def test_metrics_go_to_the_file_at_once_and_to_the_tracker_soon(tmp_path, quick):
    metrics, tracker = MetricsFile(tmp_path / "metrics.jsonl"), Memory()
    uploader = MetricsUploader(tmp_path, tracker, RunDescription("e", "r"))
    uploader.start()
    metrics.write(10, {"loss": 0.5})
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["loss"] == 0.5
    wait_for(lambda: len(tracker.records) == 1)
    metrics.write(20, {"loss": float("nan")})
    (tmp_path / "config.yaml").write_text("x")
    assert uploader.end([(tmp_path / "config.yaml", ""), (tmp_path / "absent", "")], True)
    assert [(r["step"], r["loss"]) for r in tracker.records] == [(10, 0.5), (20, None)]
    assert tracker.artifacts == [("config.yaml", "")] and tracker.finished == [True]


def test_what_a_dead_tracker_missed_arrives_when_it_is_back(tmp_path, quick, caplog):
    metrics, tracker = MetricsFile(tmp_path / "metrics.jsonl"), Memory()
    uploader = MetricsUploader(tmp_path, tracker, RunDescription("e", "r"))
    uploader.start()
    metrics.write(1, {"loss": 1.0})
    wait_for(lambda: tracker.records)
    tracker.down = True
    for step in range(2, 500):
        metrics.write(step, {"loss": float(step)})
    calls = tracker.calls
    wait_for(lambda: tracker.calls > calls + 3)
    tracker.down = False
    assert uploader.end([], True)
    assert [r["step"] for r in tracker.records] == list(range(1, 500))
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1 and warnings[0].endswith("no route to host")


def test_a_resumed_run_sends_the_rest_to_the_same_run(tmp_path, quick):
    tracker = Memory()
    first = MetricsFile(tmp_path / "metrics.jsonl")
    uploader = MetricsUploader(tmp_path, tracker, RunDescription("e", "r"))
    uploader.start()
    first.write(1, {"loss": 1.0})
    wait_for(lambda: tracker.records)
    tracker.down = True
    first.write(2, {"loss": 2.0})
    assert not uploader.end([], False)
    first.close()

    tracker.down = False
    again = MetricsFile(tmp_path / "metrics.jsonl")
    again.write(2, {"loss": 2.0})  # the resumed run repeats a step
    again.write(3, {"loss": 3.0})
    resumed = MetricsUploader(tmp_path, tracker, RunDescription("e", "r"))
    resumed.start()
    assert resumed.end([], True)
    assert [r["step"] for r in tracker.records] == [1, 2, 3]
    assert tracker.started == [None, "run-1"]


def test_parameters_are_flattened_with_dotted_keys():
    nested = {"model": {"channels": 4, "static": ["a", "b"]}, "cases": [{"name": "x"}]}
    assert flatten(nested) == {
        "model.channels": 4,
        "model.static": ["a", "b"],
        "cases.0.name": "x",
    }


def test_the_commit_of_the_code_is_known():
    commit = git_commit()
    assert commit == "" or len(commit.removesuffix("-dirty")) == 40


def test_mlflow_keeps_parameters_metrics_dataset_and_artifacts(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = MLflowTracker(uri)
    description = RunDescription(
        "experiment",
        "a run",
        {"model": {"channels": 4}},
        {"mlflow.source.git.commit": "abc"},
        "/data/store.zarr",
        json.dumps({"source": "synthetic"}),
    )
    run_id = tracker.start(description, None)
    records = [{"step": n, "time": 1000.0 + n, "loss": 1 / n, "gone": None} for n in (1, 2)]
    tracker.metrics(run_id, records)
    tracker.metrics(run_id, records)  # a repeated upload
    (tmp_path / "package").mkdir()
    (tmp_path / "package/package.json").write_text("{}")
    tracker.artifact(run_id, tmp_path / "package", "package")
    tracker.finish(run_id, True)
    assert tracker.start(description, run_id) == run_id  # parameters are not logged again
    tracker.finish(run_id, False)

    history = tracker.client.get_metric_history(run_id, "loss")
    assert [(m.step, m.value, m.timestamp) for m in history] == [
        (1, 1.0, 1001000), (2, 0.5, 1002000),
    ]  # fmt: skip
    run = tracker.client.get_run(run_id)
    assert run.inputs.dataset_inputs[0].dataset.name == "store.zarr"
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    assert [f.path for f in tracker.client.list_artifacts(run_id, "package")] == [
        "package/package.json"
    ]
    assert (tmp_path / "mlruns").is_dir()
    summary = list_runs(uri)[0]
    assert (summary.name, summary.status) == ("a run", "KILLED")
    assert summary.metrics == {"loss": 0.5} and summary.parameters == {"model.channels": "4"}
    with pytest.raises(ValueError, match="no experiment 'other' at .*; it has"):
        list_runs(uri, "other")


def test_runs_are_compared_by_what_differs():
    started = datetime(2000, 1, 1, tzinfo=UTC)
    runs = [
        RunSummary(
            name, f"{name}0123", "FINISHED", started,
            {"validation/relative_l2": error, "train/loss": 1.0},
            {"model.channels": channels, "training.steps": "80"},
        )
        for name, error, channels in (("small", 0.25, "4"), ("large", 0.125, "16"))
    ]  # fmt: skip
    lines = compare(find_runs(runs, ["large", "small0"])).splitlines()
    assert [line.split() for line in lines] == [
        ["large", "small"],
        ["status", "FINISHED", "FINISHED"],
        ["model.channels", "16", "4"],
        ["validation/relative_l2", "0.125", "0.25"],
    ]
    with pytest.raises(ValueError, match="no run 'medium'; there are small, large"):
        find_runs(runs, ["medium"])


def test_a_second_try_goes_on_with_the_run_that_the_first_one_created(tmp_path, monkeypatch):
    tracker = MLflowTracker(f"sqlite:///{tmp_path}/mlflow.db")
    log_batch, description = tracker.client.log_batch, RunDescription("e", "r", {"a": 1})

    def fail(*args, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tracker.client, "log_batch", fail)
    with pytest.raises(ConnectionError):
        tracker.start(description, None)
    monkeypatch.setattr(tracker.client, "log_batch", log_batch)
    run_id = tracker.start(description, None)
    (run,) = list_runs(tracker.uri)
    assert run.run_id == run_id and tracker.client.get_run(run_id).data.params == {"a": "1"}
    assert tracker.start(RunDescription("e", "r", {"a": 1}), None) != run_id


@pytest.mark.parametrize(("history", "step"), [(1, 1), (2, 1), (2, 2)])
def test_mlflow_runs_the_logged_model(tmp_path, make_store, history, step):
    import mlflow.pyfunc
    import numpy as np
    import torch
    from mlflow.pyfunc.scoring_server import invocations

    from configs.model import ModelConfig
    from data_prep.store.reader import Store
    from forecast.inference.rollout import rollout
    from forecast.model.forecaster import Forecaster
    from forecast.model.package import save_package
    from forecast.model.state import State

    store = Store(make_store(tmp_path / "store.zarr"))
    small = {"branches": {"spectral": {"lmax": 4}}, "channels": 4, "blocks": 1}
    config = ModelConfig.model_validate(small | {"history": history, "history_step": step})
    n_states = config.n_history + 1
    forecaster = Forecaster.from_store(config, store).eval()
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_()
    save_package(forecaster, tmp_path / "package")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = MLflowTracker(uri)
    run_id = tracker.start(RunDescription("experiment", "run"), None)
    tracker.model(run_id, tmp_path / "package")

    mlflow.set_tracking_uri(uri)
    try:
        model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    finally:
        mlflow.set_tracking_uri(None)
    seen = store.states(0, 0, n_states)[None]
    time = np.array([store.valid_time(0, n_states - 1)])
    expected = [s.fields for s in rollout(forecaster, State.from_series(seen, time), 3)]
    seen = seen if n_states > 1 else seen[:, 0]
    inputs = {"state": seen.numpy(), "time": time.astype("datetime64[s]").astype(np.int64)}
    result = model.predict(inputs, params={"n_steps": 3})
    np.testing.assert_array_equal(result[:, 2], expected[2].numpy())
    assert model.predict(inputs).shape == (1, 1, 3, 8, 16)
    with pytest.raises(Exception, match="n_steps is 0; expected 1 to"):
        model.predict(inputs, params={"n_steps": 0})
    asked = {"n_members": 3, "seed": 5, "perturbation": "field:amplitude=0.1; balanced"}
    members = model.predict(inputs, params={"n_steps": 2, **asked})
    assert members.shape == (1, 3, 2, 3, 8, 16)
    fewer = model.predict(inputs, params={"n_steps": 2, **asked, "n_members": 2})
    np.testing.assert_array_equal(members[:, :2], fewer)
    assert np.abs(members[:, 0] - members[:, 1]).max() > 0
    request = {
        "inputs": {k: v.tolist() for k, v in inputs.items()},
        "params": {"n_steps": 2} | asked,
    }
    reply = invocations(
        json.dumps(request), "application/json", model, model.metadata.get_input_schema()
    )  # as `mlflow models serve` does
    assert reply.status == 200
    served = np.array(json.loads(reply.response)["predictions"], dtype=np.float32)
    np.testing.assert_allclose(served, members, rtol=1e-6)
    with pytest.raises(Exception, match="bred vectors need states before the initial one"):
        model.predict(inputs, params={"n_members": 2, "perturbation": "bred"})
    with pytest.raises(Exception, match="2 members of 1 model without noise are equal"):
        model.predict(inputs, params={"n_members": 2})


def test_an_absent_database_and_a_bad_uri_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no MLflow database at"):
        list_runs(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(ValueError, match="has no scheme"):
        list_runs("mlruns")


def test_importing_the_tracker_does_not_import_mlflow():
    code = "import sys, forecast.training.tracking.mlflow_tracker; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_training_does_not_wait_for_a_server_that_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "_PATIENCE", 0.5)
    with socket.socket() as deaf:  # accepts and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        tracker = MLflowTracker(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        metrics = MetricsFile(tmp_path / "metrics.jsonl")
        uploader = MetricsUploader(tmp_path, tracker, RunDescription("e", "r"))
        uploader.start()
        start = time.monotonic()
        for step in range(200):
            metrics.write(step, {"loss": 1.0})
        assert time.monotonic() - start < 1
        assert not uploader.end([], True)
        assert time.monotonic() - start < 3


def test_the_page_opens_on_the_list_of_runs():
    assert page_hint().startswith(
        "in a browser: mlflow ui --backend-store-uri sqlite:///mlflow.db,"
    )
    assert page_hint("http://host:5000/") == (
        "in a browser: http://host:5000/#/experiments?workflowType=machine_learning"
    )
