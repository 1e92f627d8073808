"""Study of everything with tiny sizes: what is missing is done, and nothing twice."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.records import digest
from benchmarks.accuracy.study import __main__ as command
from benchmarks.accuracy.study import runs as study
from benchmarks.accuracy.study import summary
from benchmarks.accuracy.study.experiments import FORCED, Experiment, quick
from benchmarks.accuracy.study.rows import row
from benchmarks.accuracy.study.sizes import nearest, parameters
from benchmarks.speed.training import random_batch, training_step
from data_prep.store.reader import Store

ROWS = ["64 both, other grids", "64 none, complex, winds, longitude", "sfno, equal parameters"]


@pytest.fixture(scope="module")
def done(
    tiny: Experiment, tiny_folder: Path, stores: dict[str, Store]
) -> tuple[dict[str, Any], Path]:
    """Return the summary of a study, and its folder."""
    return study.Study(tiny, tiny_folder, seeds=[0, 1], rates=[0.001, 0.01]).run(ROWS), tiny_folder


def test_a_run_says_how_it_was_made_and_on_which_data(
    done: tuple[dict[str, Any], Path], tiny: Experiment, stores: dict[str, Store]
) -> None:
    found, folder = done
    assert [(r["name"], r["seed"]) for r in found["runs"]] == [
        (name, seed) for name in sorted(ROWS) for seed in (0, 1)
    ]
    run = json.loads((folder / "validation" / "sfno_equal-parameters-1.json").read_text())
    assert run["data"] == {part: digest(store) for part, store in stores.items()}
    assert {"commit", "processor", "torch", "torch-harmonics"} <= set(run["machine"])
    channels = json.loads((folder / "choices" / "sfno_equal-parameters-channels.json").read_text())
    assert run["configuration"]["model"]["channels"] == channels["channels"]
    assert run["configuration"]["data"]["cases"] == [
        {**case, "weight": 1, "orography": None} for case in tiny.cases
    ]
    rate = json.loads((folder / "choices" / "sfno_equal-parameters-rate.json").read_text())
    assert rate["rate"] == run["configuration"]["training"]["learning_rate"]
    assert found["choices"]["sfno_equal-parameters-rate"] == rate
    assert rate["errors"][str(rate["rate"])] == min(rate["errors"].values()) and rate["at_edge"]
    assert len(run["errors"]) == tiny.leads[-1] and len(run["errors"][0]) == tiny.validation
    first = next(r for r in found["runs"] if r["name"] == ROWS[0])
    assert set(first["transfer"]) == {"24×48", "6×12", "24×48, fields", "6×12, fields"}


def test_a_study_does_nothing_twice(
    done: tuple[dict[str, Any], Path], tiny: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, folder = done
    for name in ("train", "reference_rows", "equal_channels", "load_package"):
        monkeypatch.setattr(study, name, None)
    again = study.Study(tiny, folder, seeds=[0, 1], rates=[0.001, 0.01]).run(ROWS)
    assert again == found == json.loads((folder / "validation.json").read_text())


def test_results_of_another_configuration_are_refused(
    done: tuple[dict[str, Any], Path], tiny: Experiment
) -> None:
    _, folder = done
    with pytest.raises(ValueError, match="is a choice among 0.001, 0.01, not among 0.1, 0.2"):
        study.Study(tiny, folder, seeds=[0], rates=[0.1, 0.2]).run(ROWS[:1])
    with pytest.raises(ValueError, match="was measured with another configuration"):
        other = replace(tiny, extra=(*tiny.extra, "training.weight_decay=0.5"))
        study.Study(other, folder, seeds=[0], rates=[0.001, 0.01]).run(ROWS[:1])


def test_results_of_other_data_are_refused(
    done: tuple[dict[str, Any], Path], tiny: Experiment, tmp_path: Path
) -> None:
    _, folder = done
    for part in ("train.zarr", "validation.zarr", "validation-long.zarr", "validation"):
        shutil.copytree(folder / part, tmp_path / part)
    path = tmp_path / "validation" / "references.json"
    record = json.loads(path.read_text())
    record["data"]["train"] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="was measured with other data than .*train.zarr"):
        study.Study(tiny, tmp_path, seeds=[0]).run(ROWS[:1])


def test_table_and_figure_come_from_one_command(
    done: tuple[dict[str, Any], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, folder = done
    picture = tmp_path / "figure.png"
    words = ["summary", str(folder / "validation.json"), "--figure", str(picture)]
    monkeypatch.setattr("sys.argv", words)
    summary.main()
    shown = capsys.readouterr().out
    for name in (*ROWS, "persistence", "linear", "solver T3", "symmetry"):
        assert f"| {name} |" in shown
    assert f"| over {ROWS[1]} | 1 step | 2 steps |" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_row_that_is_none_is_an_error_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", "weak", "--quick", "--out", str(tmp_path / "s"), "--rows", "65 both"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2
    assert "there is no row '65 both'" in capsys.readouterr().err


def test_an_experiment_without_validation_is_measured_on_the_test_only(
    tiny: Experiment, tmp_path: Path
) -> None:
    published = replace(tiny, validation=0)
    with pytest.raises(ValueError, match="has no validation trajectories; measure it on the other"):
        study.Study(published, tmp_path)
    on_test = study.Study(published, tmp_path, split="test")
    with pytest.raises(ValueError, match="to choose a learning rate of 'sfno' by"):
        on_test.config(row("sfno"), seed=0)
    assert on_test.config(row("64 none"), seed=0).training.learning_rate == 0.01


def test_weights_of_another_configuration_are_not_taken(
    done: tuple[dict[str, Any], Path], tiny: Experiment, tmp_path: Path
) -> None:
    _, folder = done
    for part in ("train.zarr", "validation.zarr", "validation-long.zarr", "runs", "choices"):
        shutil.copytree(folder / part, tmp_path / part)
    other = replace(tiny, extra=(*tiny.extra, "training.weight_decay=0.5"))
    with pytest.raises(ValueError, match="was trained with another configuration"):
        study.Study(other, tmp_path, seeds=[0], rates=[0.001, 0.01]).run(ROWS[:1])


def test_a_training_that_diverges_is_not_chosen(
    tiny: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(self: study.Study, of: Any, config: Any) -> Path:
        if config.training.learning_rate > 0.05:
            raise ValueError("training stopped: 11 steps had a loss that is not finite")
        return tmp_path

    error = {"training": {"validation": {"validation/relative_l2": 0.25}}}
    monkeypatch.setattr(study.Study, "_trained", trained)
    monkeypatch.setattr(study, "read_description", lambda path: error)
    chosen = study.Study(tiny, tmp_path, rates=[0.1, 0.01]).config(row("64 both"), seed=2)
    assert chosen.training.learning_rate == 0.01 and chosen.training.seed == 2
    written = json.loads((tmp_path / "choices" / "64-both-rate.json").read_text())
    assert written["errors"] == {"0.1": None, "0.01": 0.25}


def test_the_nearest_size_is_found_between_the_smallest_and_the_largest() -> None:
    calls: list[int] = []

    def squares(n: int) -> float:
        calls.append(n)
        return n**2

    assert nearest(squares, 100.0) == 10
    assert nearest(squares, 109.0) == 10 and nearest(squares, 112.0) == 11
    assert nearest(squares, 0.5) == 2 and nearest(squares, 1e9) == 128
    assert len(calls) <= 5 * (math.ceil(math.log2(128)) + 2)


@pytest.mark.parametrize("peer", ["sfno", "lsno"])
def test_equal_parameters_are_as_near_as_a_channel_allows(peer: str, tiny: Experiment) -> None:
    of, ours = row(f"{peer}, equal parameters"), parameters(row(tiny.matched), tiny)
    channels = study.equal_channels(of, tiny, study.torch.device("cpu"))
    assert channels is not None
    off = {n: abs(math.log(parameters(of, tiny, n) / ours)) for n in (channels - 1, channels)}
    off[channels + 1] = abs(math.log(parameters(of, tiny, channels + 1) / ours))
    assert min(off, key=lambda n: off[n]) == channels


def test_a_step_of_a_row_with_mountains_and_forcing_can_be_timed() -> None:
    of, climate = row("sfno"), quick(FORCED)
    config, cpu = of.config(climate, channels=2), study.torch.device("cpu")
    result = training_step(of.build, config, cpu)(random_batch(config, cpu))
    assert result is not None
