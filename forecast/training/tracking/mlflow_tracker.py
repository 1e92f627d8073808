"""Runs in MLflow: recorded for people to compare, and listed.

This is the only file that imports mlflow, and it does so when a tracker is used: the first use of
a database takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from configs import layout
from configs.model import ModelConfig
from forecast.training.tracking.tracker import RunDescription

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
_METRICS_PER_CALL = 1000  # what MLflow takes at once
_PARAMETERS_PER_CALL = 100
_LONGEST_PARAMETER = 6000
_RUNS_PAGE = "#/experiments?workflowType=machine_learning"
"""Address within MLflow's page, which opens on its view of language models without it."""


class MLflowTracker:
    """A `Tracker`: runs in an MLflow tracking store."""

    def __init__(self, uri: str | None = None) -> None:
        """Remember where; nothing is contacted yet.

        Args:
            uri: of the tracking store; `sqlite:///mlflow.db` if not given.
        """
        self.uri = uri or DEFAULT_URI
        self._client: MlflowClient | None = None
        self._created: tuple[RunDescription, str] | None = None

    @property
    def client(self) -> MlflowClient:
        """The connection, made at first use."""
        if self._client is None:
            # Nobody waits for the answers, but a dead server should be noticed within seconds.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            from mlflow import MlflowClient

            for name in ("alembic", "mlflow"):  # they tell every step of making a database
                logging.getLogger(name).setLevel(logging.WARNING)
            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def start(self, run: RunDescription, run_id: str | None) -> str:
        """See `Tracker`; parameters are logged once, since MLflow refuses to change them.

        A second try after a failure goes on with the run that the first one created.
        """
        from mlflow.entities import Param

        if run_id is not None:
            self.client.update_run(run_id, status="RUNNING")
            return run_id
        if self._created is None or self._created[0] is not run:
            made = self.client.create_run(
                self._experiment(run.experiment), run_name=run.name, tags=dict(run.tags)
            )
            self._created = run, str(made.info.run_id)
        _, run_id = self._created
        parameters = [
            Param(name, str(value)[:_LONGEST_PARAMETER])
            for name, value in flatten(run.parameters).items()
        ]
        for chunk in _chunks(parameters, _PARAMETERS_PER_CALL):
            self.client.log_batch(run_id, params=chunk)
        if run.dataset:
            self._dataset(run_id, run)
        return run_id

    def metrics(self, run_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        """See `Tracker`; a metric of the same step and time is stored once."""
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, int(record["time"] * 1000), int(record["step"]))
            for record in records
            for name, value in record.items()
            if name not in ("step", "time") and isinstance(value, int | float)
        ]
        for chunk in _chunks(metrics, _METRICS_PER_CALL):
            self.client.log_batch(run_id, metrics=chunk)

    def artifact(self, run_id: str, path: Path, folder: str) -> None:
        """See `Tracker`."""
        if path.is_dir():
            self.client.log_artifacts(run_id, str(path), folder)
        else:
            self.client.log_artifact(run_id, str(path), folder or None)

    def model(self, run_id: str, package: Path) -> None:
        """See `Tracker`; `mlflow.pyfunc.load_model("runs:/RUN_ID/model")` runs it.

        It takes `state` (b, c, nlat, nlon), or (b, n, c, nlat, nlon) if the model sees the last n
        states, and `time` (b,) of the last one in seconds since 1970, with the parameter
        `n_steps`, and gives (b, n_steps, c, nlat, nlon). A model that is given channels at every
        time also takes `forcing` (b, n_steps, f, nlat, nlon). With the parameters `n_members`,
        `seed` and `perturbation` it gives an ensemble, (b, n_members, n_steps, c, nlat, nlon).
        """
        import mlflow.pyfunc
        import numpy as np
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

        description = json.loads((package / layout.PACKAGE_FILE).read_text(encoding="utf-8"))
        grid, n_channels = description["grid"], len(description["channels"])
        field = (n_channels, grid["nlat"], grid["nlon"])
        n_states = ModelConfig.model_validate(description["model"]).n_history + 1
        state = field if n_states == 1 else (n_states, *field)
        inputs: list[ColSpec | TensorSpec] = [
            TensorSpec(np.dtype(np.float32), (-1, *state), "state"),
            TensorSpec(np.dtype(np.int64), (-1,), "time"),
        ]
        if n_given := len(description[layout.FORCING_CHANNELS]):
            given = (-1, -1, n_given, *field[1:])
            inputs.append(TensorSpec(np.dtype(np.float32), given, "forcing"))
        signature = ModelSignature(
            inputs=Schema(inputs),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1, *field))]),
            params=ParamSchema(
                [
                    ParamSpec("n_steps", "long", 1),
                    ParamSpec("n_members", "long", 0),
                    ParamSpec("seed", "long", 0),
                    ParamSpec("perturbation", "string", ""),
                ]
            ),
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            mlflow.pyfunc.save_model(
                path,
                loader_module="forecast.inference.mlflow_model",
                data_path=str(package),
                signature=signature,
                pip_requirements=[f"sphere-forecast=={version('sphere-forecast')}"],
            )
            self.client.log_artifacts(run_id, str(path), "model")

    def register(self, run_id: str, name: str) -> str:
        """Register the model of a run in the model registry; return its version.

        Args:
            run_id: Run whose model was logged.
            name: Name of the registered model; it is created if there is none.
        """
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self.client.create_registered_model(name)
        source = f"{self.client.get_run(run_id).info.artifact_uri}/model"
        return str(self.client.create_model_version(name, source, run_id).version)

    def finish(self, run_id: str, completed: bool) -> None:
        """See `Tracker`."""
        self.client.set_terminated(run_id, "FINISHED" if completed else "KILLED")

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(self.client.create_experiment(name, artifact_location=self._artifacts(name)))

    def _artifacts(self, experiment: str) -> str | None:
        """Beside a local database, not below whatever folder the program runs in."""
        if not self.uri.startswith("sqlite:///"):
            return None
        folder = Path(self.uri.removeprefix("sqlite:///")).absolute().parent
        return (folder / "mlruns" / experiment.replace("/", "_")).as_uri()

    def _dataset(self, run_id: str, run: RunDescription) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest = hashlib.sha256(run.provenance.encode()).hexdigest()[:16]
        source = json.dumps({"uri": run.dataset})
        profile = run.provenance if len(run.provenance) < 10_000 else None
        dataset = Dataset(Path(run.dataset).name, digest, "local", source, profile=profile)
        tag = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(run_id, [DatasetInput(dataset, tags=[tag])])


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of runs.

    Attributes:
        name: of the run.
        run_id: MLflow's.
        status: "RUNNING", "FINISHED", "KILLED" or "FAILED".
        started: when, UTC.
        metrics: last value of every metric.
        parameters: the configuration, flattened.
    """

    name: str
    run_id: str
    status: str
    started: datetime
    metrics: dict[str, float]
    parameters: dict[str, str]


def page_hint(uri: str | None = None) -> str:
    """Return how to see the runs of a tracking store in a browser.

    Args:
        uri: URI of the tracking store; `sqlite:///mlflow.db` if not given.
    """
    uri = uri or DEFAULT_URI
    if urlsplit(uri).scheme in ("http", "https"):
        return f"in a browser: {uri.rstrip('/')}/{_RUNS_PAGE}"
    command = f"mlflow ui --backend-store-uri {uri}"
    return f"in a browser: {command}, then http://127.0.0.1:5000/{_RUNS_PAGE}"


def list_runs(uri: str | None = None, experiment: str | None = None) -> list[RunSummary]:
    """Runs in an MLflow tracking store, the newest first.

    Args:
        uri: of the tracking store; `sqlite:///mlflow.db` if not given.
        experiment: only of this one; of all if not given.

    Raises:
        FileNotFoundError: if the database is not there.
        ValueError: if there is no such experiment, or the server does not answer.
    """
    tracker = MLflowTracker(uri)
    if tracker.uri.startswith("sqlite:///"):
        database = Path(tracker.uri.removeprefix("sqlite:///"))
        if not database.exists():
            raise FileNotFoundError(
                f"no MLflow database at {database}; `forecast train` makes one, or name another "
                "with tracking.uri"
            )
    elif not urlsplit(tracker.uri).scheme:
        raise ValueError(
            f"MLflow URI {tracker.uri!r} has no scheme; expected something like "
            "sqlite:///mlflow.db or http://localhost:5000"
        )
    client = tracker.client
    try:
        experiments = {e.name: e.experiment_id for e in client.search_experiments()}
        if experiment is not None and experiment not in experiments:
            raise ValueError(
                f"no experiment {experiment!r} at {tracker.uri}; it has "
                f"{', '.join(sorted(experiments)) or 'none'}"
            )
        ids = list(experiments.values()) if experiment is None else [experiments[experiment]]
        found = client.search_runs(ids, order_by=["attributes.start_time DESC"])
    except ValueError:
        raise
    except Exception as error:  # MLflow has its own kinds for every back end
        raise ValueError(
            f"MLflow at {tracker.uri} does not answer ({str(error).splitlines()[0]}); start it, or "
            "name another with tracking.uri"
        ) from error
    return [
        RunSummary(
            name=run.info.run_name,
            run_id=run.info.run_id,
            status=run.info.status,
            started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            metrics=dict(run.data.metrics),
            parameters=dict(run.data.params),
        )
        for run in found
    ]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; sequences are numbered where they hold mappings."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            flat.update(flatten(dict(enumerate(value)), f"{name}."))  # type: ignore[arg-type]
        else:
            flat[name] = value
    return flat


def _chunks(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i * size : (i + 1) * size] for i in range(math.ceil(len(items) / size))]
