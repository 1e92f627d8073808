"""Tracking on a server that dies during a run and is restarted."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from forecast.training.tracking import recorder
from forecast.training.tracking.mlflow_tracker import MLflowTracker
from forecast.training.tracking.recorder import MetricsFile, MetricsUploader
from forecast.training.tracking.tracker import RunDescription

# The warnings are of mlflow.
pytestmark = [pytest.mark.parallel, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

_PATIENCE = 240.0
"""Seconds after which a server that does not answer has failed; it starts in about ten."""


def wait_for(condition):
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


class Server:
    """Process of `mlflow server` with a database in a folder."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri, self.folder, self.process = f"http://127.0.0.1:{self.port}", folder, None

    def start(self):
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        words += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            cwd=self.folder, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self.answers)

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    made.start()
    yield made
    made.kill()


def test_nothing_is_missing_after_a_server_was_killed_and_restarted(server, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "_EVERY", 0.1)
    monkeypatch.setattr(recorder, "_LONGEST_PAUSE", 0.5)
    monkeypatch.setattr(recorder, "_PATIENCE", _PATIENCE)
    run = tmp_path / "run"
    run.mkdir()
    metrics, tracker = MetricsFile(run / "metrics.jsonl"), MLflowTracker(server.uri)
    uploader = MetricsUploader(run, tracker, RunDescription("e", "r", {"model": {"channels": 4}}))
    uploader.start()
    for step in range(1, 51):
        metrics.write(step, {"loss": 1 / step})
    wait_for(lambda: len(history(tracker, uploader)) == 50)
    server.kill()
    for step in range(51, 301):
        metrics.write(step, {"loss": 1 / step})
    wait_for(lambda: uploader.failure)
    server.start()
    wait_for(lambda: not uploader.failure)
    for step in range(301, 351):
        metrics.write(step, {"loss": 1 / step})
    assert uploader.end([(run / "metrics.jsonl", "")], True)
    assert history(tracker, uploader) == [(n, 1 / n) for n in range(1, 351)]
    known = tracker.client.get_run(uploader.run_id)
    assert known.info.status == "FINISHED" and known.data.params == {"model.channels": "4"}
    assert [f.path for f in tracker.client.list_artifacts(uploader.run_id)] == ["metrics.jsonl"]


def history(tracker, uploader):
    if uploader.run_id is None:
        return []
    found = tracker.client.get_metric_history(uploader.run_id, "loss")
    return sorted((m.step, m.value) for m in found)
