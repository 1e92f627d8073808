"""The figure of forecasts of an atmosphere shows each file, the circulation model, references."""

import sys

import numpy as np
import pytest

from benchmarks.accuracy.atmosphere import forecast_figure
from benchmarks.accuracy.records import write


def scores(size: float) -> dict[str, object]:
    return {"z500": {"rmse": [size, 2 * size], "acc": [0.9, 0.7], "spread": 2.0}}


@pytest.fixture
def words(tmp_path):
    for name, leads in (("a", [6, 24]), ("b", [6, 24]), ("c", [6, 48])):
        references = {kind: scores(1.0) for kind in ("persistence", "damped persistence")}
        content = {"leads_hours": leads, "references": references, "runs": [{"scores": scores(1)}]}
        write(tmp_path / f"{name}.json", content)
    write(tmp_path / "gcm.json", {kind: {"scores": scores(3)} for kind in ("T21", "twin")})
    return ["forecast_figure", "--gcm", str(tmp_path / "gcm.json"), "--figure",
            str(tmp_path / "f.png")]  # fmt: skip


def test_all_curves_are_drawn(words, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        forecast_figure, "draw", lambda path, curves, *of: drawn.update(curves=curves, of=of)
    )
    files = [str(tmp_path / f"{name}.json") for name in "ab"]
    monkeypatch.setattr(sys, "argv", [*words, *files, "--labels", "one", "two"])
    forecast_figure.main()
    assert drawn["of"] == ([6, 24], "z500")
    assert list(drawn["curves"]) == [
        "one", "two", "jcm at T21", "jcm, perturbed", "damped persistence", "persistence"
    ]  # fmt: skip
    monkeypatch.undo()
    monkeypatch.setattr(sys, "argv", [*words, *files, "--labels", "one", "two"])
    forecast_figure.main()
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("files", "labels", "message"),
    [("ab", ["one"], "1 labels for 2 runs"), ("ac", ["one", "two"], "the same lead times")],
)
def test_files_that_do_not_fit_are_refused(
    words, tmp_path, monkeypatch, capsys, files, labels, message
):
    paths = [str(tmp_path / f"{name}.json") for name in files]
    monkeypatch.setattr(sys, "argv", [*words, *paths, "--labels", *labels])
    with pytest.raises(SystemExit):
        forecast_figure.main()
    assert message in capsys.readouterr().err


def test_models_of_longer_steps_have_no_point_before_their_first_step(tmp_path, monkeypatch):
    longer = {"z500": {"rmse": [np.nan, 1.0], "acc": [np.nan, 0.95], "spread": 2.0}}
    content = {
        "leads_hours": [6, 24],
        "references": {kind: scores(1.0) for kind in ("persistence", "damped persistence")},
        "runs": [{"scores": scores(0.5)}, {"scores": longer}],
    }
    write(tmp_path / "results.json", content)
    figures, make = [], forecast_figure.new_figure

    def kept(*size):
        figures.append(make(*size))
        return figures[-1]

    monkeypatch.setattr(forecast_figure, "new_figure", kept)
    files = [str(tmp_path / "results.json"), "--labels", "six hours", "a day"]
    monkeypatch.setattr(
        sys, "argv", ["forecast_figure", *files, "--figure", str(tmp_path / "f.png")]
    )
    forecast_figure.main()
    error, correlation = figures[0].axes
    np.testing.assert_allclose(error.lines[0].get_xydata(), [[0.25, 0.25], [1, 0.5]])
    np.testing.assert_allclose(error.lines[1].get_xydata(), [[0.25, np.nan], [1, 0.5]])
    np.testing.assert_allclose(correlation.lines[1].get_ydata(), [np.nan, 0.95])
