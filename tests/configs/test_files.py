"""Files that are based on presets and on other files."""

from pathlib import Path

import pytest

from configs.files import read_tree
from configs.load import load_config


def written(folder: Path, **texts: str) -> Path:
    """Write files of a folder, and return the path of the first one."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(texts))}.yaml"


def test_a_file_changes_settings_of_a_preset(tmp_path: Path) -> None:
    path = written(
        tmp_path, own="base: swe\nmodel: {branches: {integral: null}}\ntraining: {steps: 7}\n"
    )
    found, plain = load_config(path, ["training.batch_size=2"]), load_config("swe")
    assert found.model.branches.integral is None
    assert found.model.branches.differential == plain.model.branches.differential
    assert (found.training.steps, found.training.batch_size) == (7, 2)
    assert found.data == plain.data
    assert "base" not in read_tree(path)


def test_a_base_may_have_a_base_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    written(tmp_path, middle="base: swe\nmodel: {channels: 12}\ndata: {seed: 5}\n")
    path = written(tmp_path / "sub", own="base: ../middle.yaml\ndata: {seed: 6}\n")
    found = load_config(path)
    assert (found.model.channels, found.data.seed) == (12, 6)  # type: ignore[union-attr]


def test_lists_are_replaced_and_not_joined(tmp_path: Path) -> None:
    path = written(tmp_path, own="base: atmosphere\ndata: {variables: [z500, t850]}\n")
    assert load_config(path).data.variables == ("z500", "t850")


def test_data_of_another_source_replace_those_of_the_base(tmp_path: Path) -> None:
    data = "{source: files, variables: [sst], time_step: 1mo}"
    path = written(tmp_path, own=f"base: swe\ndata: {data}\n")
    assert read_tree(path)["data"] == {"source": "files", "variables": ["sst"], "time_step": "1mo"}
    assert load_config(path).model == load_config("swe").model


def test_a_preset_with_a_base_differs_where_it_says_so() -> None:
    short, whole = load_config("atmosphere_short"), load_config("atmosphere")
    assert short.model == whole.model and short.data.variables == whole.data.variables
    assert short.training.steps < whole.training.steps
    assert short.training.replay_steps == whole.training.replay_steps == 12
    daily = load_config("atmosphere_daily")
    assert daily.model.channels == whole.model.channels
    assert daily.data.splits == whole.data.splits
    assert (daily.data.time_step, daily.training.replay_steps) == ("1d", 3)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("own.yaml", r"own.yaml: base own.yaml is based on own.yaml"),
        ("other.yaml", r"other.yaml: base own.yaml is based on other.yaml"),
        ("swee", r"there is no preset 'swee' \(nearest: swe\)"),
        ("swee.yaml", r"there is no configuration file .*swee.yaml"),
        ("[swe, sst]", r"base is \['swe', 'sst'\]; expected a preset or the path of a file"),
    ],
)
def test_a_base_that_cannot_be_read_is_named(base: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, own=f"base: {base}\n", other="base: own.yaml\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_config(path)
