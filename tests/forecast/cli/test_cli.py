"""Command line: one tool, one line per error, no partial output."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forecast.cli.main import main

COMMANDS = (
    [],
    ["data"],
    ["data", "swe"],
    ["data", "ingest"],
    ["data", "info"],
    ["data", "export"],
    ["train"],
    ["rollout"],
    ["evaluate"],
    ["plot"],
    *(
        ["plot", kind]
        for kind in (
            "map",
            "animation",
            "hovmoeller",
            "section",
            "series",
            "spaghetti",
            "spread",
            "scores",
            "scorecard",
            "ranks",
            "reliability",
            "spectrum",
        )
    ),
    ["runs"],
    ["doctor"],
)


Run = Callable[..., int]
Refused = Callable[..., str]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(
    words: list[str], run_forecast: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_forecast(*words, "--help") == 0
    shown = capsys.readouterr().out
    assert " ".join(["Usage: forecast", *words]) in shown
    assert "object at 0x" not in shown


def test_help_answers_in_about_a_second() -> None:
    """Measure processor time, since tests run in parallel; importing torch alone takes 2 s."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "forecast", "train", "--help"], check=True, capture_output=True
    )
    after = os.times()
    user, system = after.children_user, after.children_system
    assert user + system - before.children_user - before.children_system < 1.0


def test_version_is_that_of_the_distribution(
    run_forecast: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.metadata import version

    assert run_forecast("--version") == 0
    assert capsys.readouterr().out.split() == ["sphere-forecast", version("sphere-forecast")]


def test_no_command_shows_the_help_and_is_an_error(
    run_forecast: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_forecast() == 2
    captured = capsys.readouterr()
    assert "Usage: forecast" in captured.out + captured.err
    assert "error:" not in captured.err


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["train"], "PRESET"),
        (["train", "swe", "--dat", "x"], "--data"),
        (["fly"], "fly"),
        (["rollout", "p", "--data", "s", "--out", "f.nc", "--split", "all"], "'test'"),
        (["rollout", "p", "--data", "s", "--out", "f.nc", "--steps", "0"], "--steps"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    words: list[str], fragment: str, refused: Refused
) -> None:
    assert fragment in refused(*words)


def test_a_wrong_override_is_one_line(refused: Refused, tmp_path: Path) -> None:
    out = tmp_path / "store.zarr"
    line = refused("data", "swe", "swe_smoke", "--out", str(out), "data.n_step=3")
    assert "data.n_step" in line
    assert "nearest: n_steps" in line
    assert not out.exists()


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    for words in (["--debug", "train", "swf"], ["train", "swf", "--debug"]):
        with pytest.raises(FileNotFoundError, match="no preset 'swf'"):
            main([*words, "--data", "s", "--out", "r"])


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, run_forecast: Run) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("configs.load.load_config", interrupted)
    assert run_forecast("train", "swe", "--data", "s", "--out", "r") == 130


def test_data_commands_want_their_kind_of_preset(refused: Refused, tmp_path: Path) -> None:
    out = str(tmp_path / "store.zarr")
    assert "forecast data ingest" in refused("data", "swe", "sst", "--out", out)
    assert "forecast data swe" in refused("data", "ingest", "swe", "a.nc", "--out", out)


def test_a_process_that_failed_ends_while_threads_of_libraries_still_run() -> None:
    """Check that the process ends itself, where the interpreter would wait for the thread."""
    code = (
        "import threading, time, forecast.cli.main;"
        "threading.Thread(target=time.sleep, args=[60]).start();"
        "print('begun', flush=True);"
        "forecast.cli.main.main()"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "info", "absent.zarr"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert time.perf_counter() - start < 30
    assert (done.returncode, done.stdout) == (2, "begun\n")
    assert done.stderr.startswith("error: no store at absent.zarr")
