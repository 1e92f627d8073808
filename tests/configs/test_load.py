"""Loading of configurations: accepted forms, and messages for wrong ones."""

from pathlib import Path

import pytest

from configs.files import preset_names
from configs.load import dump_config, load_config
from configs.schema import FilesData


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_the_way_through_yaml(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert load_config(str(path)) == config


def test_an_override_replaces_one_value_and_leaves_the_rest() -> None:
    plain = load_config("swe")
    changed = load_config("swe", ["training.learning_rate=1e-4", "data.grid.nlat=48"])
    assert changed.training.learning_rate == 1e-4
    assert changed.data.grid is not None
    assert changed.data.grid.nlat == 48
    assert changed.model == plain.model
    assert changed.training.steps == plain.training.steps


def test_null_takes_a_branch_away_and_a_dotted_key_brings_it_back() -> None:
    without = load_config("swe", ["model.branches.integral=null"])
    assert without.model.branches.integral is None
    again = load_config(
        "swe", ["model.branches.integral=null", "model.branches.integral.theta_cutoff=0.2"]
    )
    assert again.model.branches.integral is not None
    assert again.model.branches.integral.theta_cutoff == 0.2


def test_lists_and_mappings_are_yaml_values() -> None:
    config = load_config(
        "swe", ["data.cases=[{name: random}, {name: jet, weight: 2}]", "data.cases.1.weight=3"]
    )
    assert config.data.source == "shallow_water"
    assert [(case.name, case.weight) for case in config.data.cases] == [("random", 1), ("jet", 3)]


def test_keys_of_earlier_versions_are_renamed_or_dropped_with_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.yaml"
    text = dump_config(load_config("swe")).replace("wire_dtype: float32", "payload: bf16")
    path.write_text(text.replace("mesh:\n", "mesh:\n  chunks: 2\n"))
    with caplog.at_level("INFO", logger="configs"):
        config = load_config(path, ["mesh.data=2"])
    assert (config.mesh.wire_dtype, config.mesh.data) == ("bf16", 2)
    assert [record.getMessage() for record in caplog.records] == [
        "mesh.payload is now mesh.wire_dtype",
        "mesh.chunks=2 is ignored: the setting no longer exists",
    ]
    assert load_config("swe", ["mesh.payload=bf16"]).mesh.wire_dtype == "bf16"


def test_dates_and_years_stay_text() -> None:
    data = load_config("sst", ["data.splits.test.first=2001", "data.splits.test.last=2001-06"]).data
    assert isinstance(data, FilesData)
    assert data.splits is not None
    assert (data.splits.test.first, data.splits.test.last) == ("2001", "2001-06")
    assert load_config("swe", ["data.start_time=2000-01-01"]).data.start_time == "2000-01-01"


@pytest.mark.parametrize(
    ("override", "fragments"),
    [
        ("training.stepz=3", ("training.stepz", "nearest: steps", "batch_size")),
        ("trainin.steps=3", ("unknown key trainin", "nearest: training")),
        ("model.branches.spectral.lmx=3", ("model.branches.spectral.lmx", "lmax, complex")),
        ("data.grid.nlatt=3", ("unknown key data.grid.nlatt", "nearest: nlat")),
        ("data.cases=[{nam: random}]", ("data.cases.0.nam", "nearest: name")),
        ("data.cases.0.name=x", ("data.cases.0.name", "give all of it")),
        ("data.cases=random", ("data.cases", "'random'", "list")),
        ("data.source=file", ("data.source", "'file'", "'shallow_water', 'barotropic', 'diff")),
        ("training.steps=ten", ("training.steps", "'ten'", "integer")),
        ("training.steps=0", ("training.steps is 0", "greater than or equal to 1")),
        ("training.steps.deep=1", ("training.steps.deep", "has no keys")),
        (
            "data={source: files, variables: [sst], splits: {train: 1, validation: 0.2, test: 0}}",
            ("data.splits", "sum to 1.2"),
        ),
        (
            "data={source: files, variables: [t2m], splits: {train: {first: 1, lst: 2}}}",
            ("unknown key data.splits.train.lst", "nearest: last"),
        ),
        (
            "data={source: files, variables: [t2m], splits: {tran: 0.9}}",
            ("unknown key data.splits.tran", "nearest: train"),
        ),
        ("training=3", ("training is 3", "section with the keys steps, batch_size")),
        ("training.optimizer=adam", ("training.optimizer", "'adam'", "nearest: adamw")),
        ("data.variables=[geopotental]", ("data.variables.0", "nearest: geopotential")),
        ("data.time_step=fortnight", ("data.time_step", "fortnight", "1mo")),
        ("model.branches={}", ("model.branches", "at least one branch")),
        ("model=null", ("model is None", "section with the keys branches")),
        ("training.steps", ("'training.steps'", "key=value")),
        ("training..steps=3", ("training..steps=3", "key=value")),
        ("data.cases=[", ("data.cases=[", "line 1")),
        ("training.steps={a: 1, a: 2}", ("given twice",)),
    ],
)
def test_a_wrong_override_is_told_key_value_and_way_out_on_one_line(
    override: str, fragments: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as caught:
        load_config("swe", [override])
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("data: {source: files}\nmodel: {branches: {spectral: {lmax: 4}}}\n")
    with pytest.raises(ValueError, match="the key data.variables is missing"):
        load_config(path)
    path.write_text("data: {variables: [t2m]}\nmodel: {branches: {spectral: {lmax: 4}}}\n")
    with pytest.raises(ValueError, match="the key data.source is missing"):
        load_config(path)


def test_an_unknown_preset_is_told_the_nearest_one() -> None:
    with pytest.raises(FileNotFoundError, match=r"no preset 'swf' \(nearest: swe\); presets: "):
        load_config("swf")


@pytest.mark.parametrize("name", ["absent.yaml", "folder/absent"])
def test_a_missing_file_is_named(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"no configuration file {name}"):
        load_config(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"data: [1", "not valid YAML"),
        (b"just text", "expected sections"),
        (b"\xff\xfe\x00", "not a text file|not valid YAML"),
        (b"data: 1\ndata: 2\n", "given twice"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder"):
        load_config(tmp_path)
