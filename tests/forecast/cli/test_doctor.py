"""Command `forecast doctor`: reports of working and of broken parts."""

from pathlib import Path

import pytest

from forecast.cli import doctor


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    blocks = doctor.report().split("\n\n")
    return {block.partition("\n")[0]: block for block in blocks}


def test_every_question_has_an_answer(sections: dict[str, str]) -> None:
    questions = {
        "versions": ("python", "torch-harmonics", "mlflow"),
        "machine": ("cores", "memory", "cuda"),
        "kernels": ("torch-harmonics (compiled)", "torch.compile (CPU)"),
        "optimisers": ("muon", "adamw", "apex-adam", "apex-lamb"),
        "tracking": ("MLflow",),
        "maps": ("coastlines",),
    }
    assert list(sections) == list(questions)
    for title, names in questions.items():
        assert "failed" not in sections[title]
        for name in names:
            assert f"  {name}" in sections[title]


def test_the_tracking_database_is_where_training_here_would_put_it(
    sections: dict[str, str], tmp_path: Path
) -> None:
    assert str(tmp_path / "mlflow.db") in sections["tracking"]
    assert not (tmp_path / "mlflow.db").exists()


def test_a_part_that_fails_says_why_and_the_others_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> str:
        raise ImportError("undefined symbol:\n  _ZN3c10")

    monkeypatch.setattr(doctor, "_torch_harmonics", broken)
    monkeypatch.setattr(doctor, "_maps", broken)
    report = doctor.report()
    assert "pip install --upgrade torch torch-harmonics" in report
    assert "failed  ImportError: undefined symbol: _ZN3c10" in report
    assert "MLflow" in report


def test_a_folder_of_the_users_map_data_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CARTOPY_DATA_DIR", str(tmp_path))
    assert f"{tmp_path} (used)" in doctor.report()
    monkeypatch.setenv("CARTOPY_DATA_DIR", str(tmp_path / "absent"))
    assert "not a folder" in doctor.report()
