"""Reports: self-contained pages, looked at in a headless browser, and their place in MLflow."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from forecast.report.build import make_report
from forecast.report.inputs import Inputs
from forecast.report.page import Section
from forecast.report.sections.scores import ensemble_section
from forecast.report.sections.table import SECTIONS
from forecast.training.tracking.mlflow_tracker import MLflowTracker
from forecast.training.tracking.tracker import RunDescription
from tests.forecast.plotting.score_files import write_scores
from tests.workflow import Workflow

Run = Callable[..., int]
PROBE = """<script>window.addEventListener("load", () => {
  const broken = [...document.images].filter((i) => !i.complete || !i.naturalWidth).length;
  const asked = performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:"));
  const wide = document.documentElement.scrollWidth > window.innerWidth;
  document.title = `broken ${broken} asked ${asked.length} wide ${wide}`;
});</script>"""


class Page(HTMLParser):
    """Titles, references and pictures of a page; an unclosed tag is an error."""

    void = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []
        self.references: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.void:
            self.open.append(tag)
        self.references += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


@pytest.fixture(scope="module")
def page(workflow: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    inputs = (workflow.run, workflow.forecast, workflow.scores)
    return make_report(inputs, out, data=workflow.store, title="A <small> run")


def test_a_report_holds_all_sections_and_refers_to_nothing_outside(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = Page(text)
    assert found.titles == [name for name in SECTIONS if name in found.titles]
    assert {"Model", "Training", "Scores", "Maps", "Animation", "Spectra", "Stability"} <= set(
        found.titles
    )
    assert len(found.references) > 10
    assert all(
        r.startswith(("data:image/png;base64,", "data:image/gif;base64,", "#section-"))
        for r in found.references
    )
    assert "A &lt;small&gt; run" in text and "parameters" in text
    assert len(text) < 3_000_000


def test_a_browser_shows_it_without_a_network(page: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed")
    probed = tmp_path / "probed.html"
    text = page.read_text(encoding="utf-8")
    probed.write_text(text.replace("</head>", PROBE + "</head>"), encoding="utf-8")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,1400",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"]  # fmt: skip
    done = subprocess.run(
        [browser, *words, "--dump-dom", probed.as_uri()], capture_output=True, timeout=120
    )
    dom = done.stdout.decode()
    assert re.search(r"<title>broken 0 asked 0 wide false</title>", dom), dom[:300]


def test_pictures_of_ensembles_are_those_that_the_scores_allow(tmp_path: Path) -> None:
    whole, ranks = write_scores(tmp_path / "whole.nc"), tmp_path / "ranks.nc"
    with xr.open_dataset(whole, decode_timedelta=False) as scores:
        scores.assign(reliability_observed=scores.reliability_observed * np.nan).to_netcdf(ranks)
    for path, expected in ((whole, ["Rank of", "Reliability of"]), (ranks, ["Rank of"])):
        section = Section("Ensemble")
        folder = tmp_path / path.stem
        folder.mkdir()
        ensemble_section(Inputs(scores=[path]), section, folder)
        found = [re.search(r'alt="(\w+ of)', part) for part in section.parts]
        assert [match[1] for match in found if match] == expected


def test_inputs_that_are_no_outputs_are_refused(workflow: Workflow, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    with pytest.raises(FileNotFoundError, match="nothing at .*absent; expected a run folder"):
        make_report([tmp_path / "absent"], out)
    with pytest.raises(ValueError, match="store.zarr is not a run folder, a forecast, scores"):
        make_report([workflow.store], out)
    with pytest.raises(ValueError, match="a report of nothing"):
        make_report([], out)
    with pytest.raises(ValueError, match="expected .html"):
        make_report([workflow.scores], tmp_path / "r.pdf")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")  # of mlflow
def test_report_and_package_are_logged_and_registered(
    workflow: Workflow, run_forecast: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    folder, uri = tmp_path / "run", f"sqlite:///{tmp_path}/mlflow.db"
    shutil.copytree(workflow.run, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["tracking"] |= {"enabled": True, "uri": uri}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "report.html"
    words = ("report", folder, workflow.scores, "--out", out, "--log", "--register", "swe")
    assert run_forecast(*words) == 2
    assert "MLflow has no run of" in capsys.readouterr().err and not out.exists()
    tracker = MLflowTracker(uri)
    run_id = tracker.start(RunDescription("e", "r"), None)
    tracker.model(run_id, folder / "package")
    (folder / "tracking.json").write_text(json.dumps({"run_id": run_id}))
    assert run_forecast(*words) == 0
    assert "registered as swe, version 1" in capsys.readouterr().out
    client = MlflowClient(tracking_uri=uri)
    logged = {file.path for file in client.list_artifacts(run_id, "report")}
    assert logged == {"report/report.html", f"report/{workflow.scores.name}"}
    (version,) = client.search_model_versions("name='swe'")
    assert version.run_id == run_id


def test_a_registry_that_is_away_costs_nothing(
    workflow: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecast.report.publish import TrackedRun, publish

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    page = make_report([workflow.scores], tmp_path / "r.html")
    away = TrackedRun(workflow.run, "0" * 32, "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"MLflow at http://127.0.0.1:9 does not take it .* is"):
        publish(away, page, [], log=True, register=None)
    assert page.exists()
