"""Examples of the README, run in a folder of their own on tiny data."""

import ast
import contextlib
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from configs.files import preset_names
from tests.data_prep.gcm.fake_model import fake_python
from tests.forecast.training.golden_runs import monthly_file

pytestmark = pytest.mark.filterwarnings("ignore")  # mlflow's own

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TINY = (
    "data.grid={kind: legendre-gauss, nlat: 16, nlon: 32}",
    "data.lmax=11",
    "data.trajectories={train: 2, validation: 1, test: 1}",
    "model.branches.spectral.lmax=16",
    "model.branches.integral.theta_cutoff=0.6",
    "model.dealias_lmax=11",
    "model.channels=4",
    "model.blocks=1",
    "training.steps=4",
    "training.batch_size=2",
    "training.validation_rollout=2",
)
"""Overrides of the commands that make data and train."""
NOT_RUN = ("make", "python3", "mlflow")
"""Commands that other tests run, install, or do not end; what they name is looked up."""


def code_blocks() -> list[str]:
    """Return the indented and the fenced blocks, in order, without their indentation."""
    fenced = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    text = fenced.sub(lambda match: textwrap.indent(match[1], "    "), README)
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks if block.strip()]


def is_python(block: str) -> bool:
    try:
        ast.parse(block)
    except SyntaxError:
        return False
    return True


PYTHON = [block for block in code_blocks() if is_python(block)]
COMMANDS = [
    words
    for block in code_blocks()
    if not is_python(block)
    for line in block.replace("\\\n", " ").splitlines()
    if (words := shlex.split(re.sub(r"\[[A-Z ]+\]", "", line), comments=True))
]
"""Words of each command, without what is optional."""


def with_inputs(words: list[str], folder: Path) -> list[str]:
    """Return the command with a file for its placeholder, and with small data and training."""
    if "FILES..." in words:
        monthly_file(folder / "sst.nc", years=60, first="1950-01")
    if words[1:3] == ["data", "gcm"]:
        words = [word.replace("atmosphere", "atmosphere_smoke") for word in words]
        words += ["--python", str(fake_python(folder))]
    words = [word.replace("FILES...", "sst.nc") for word in words]
    return [*words, *TINY] if "train" in words or words[1:3] == ["data", "swe"] else words


@contextlib.contextmanager
def place_to_write(words: list[str], folder: Path) -> Iterator[Path]:
    """Return the folder, or a copy without the output and its summary if it has the output."""
    out = words[words.index("--out") + 1] if "--out" in words else ""
    written = {out, f"{Path(out).stem}.md"}
    if out and (folder / out).exists():
        other = folder / f"other-{len(list(folder.iterdir()))}"
        other.mkdir()
        for path in folder.iterdir():
            if path.name not in written and not path.name.startswith("other-"):
                (other / path.name).symlink_to(path)
        folder = other
    with contextlib.chdir(folder):
        yield folder
    assert not out or (folder / out).exists(), f"{shlex.join(words)} left no {out}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run_forecast: Callable[..., int]) -> Path:
    """Folder in which all commands ran, one after the other."""
    folder = tmp_path_factory.mktemp("readme")
    for words in COMMANDS:
        if words[0] == "forecast":
            with place_to_write(words, folder):
                complete = with_inputs(words, Path.cwd())
                assert run_forecast(*complete[1:]) == 0, shlex.join(words)
    return folder


def test_every_kind_of_command_is_tried() -> None:
    assert {words[0] for words in COMMANDS} <= {"forecast", "torchrun", *NOT_RUN}
    tried = {" ".join(words[1:3]) for words in COMMANDS if words[0] == "forecast"}
    assert len(PYTHON) >= 2 and len(tried) >= 10


def test_the_commands_run_one_after_the_other(folder: Path) -> None:
    assert {"store.zarr", "run", "forecast.nc", "scores.nc"} <= {p.name for p in folder.iterdir()}
    assert (folder / "run" / "best" / "package.json").is_file()


def test_the_python_runs_on_what_the_commands_made(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expressions = re.findall(r"`(xr\.\w+\([^`]*\))`", README)
    assert expressions
    with contextlib.chdir(folder):
        for block in PYTHON:
            names = {"x": torch.randn(2, 64, 128)}  # the field that an example transforms
            exec(compile(block, "README.md", "exec"), names)
        for expression in expressions:
            names = {}
            exec(f"import xarray as xr\nopened = {expression}", names)
            assert names["opened"].sizes["longitude"] == 32
            names["opened"].close()
    assert len(capsys.readouterr().out.splitlines()) == 10


@pytest.mark.parallel
@pytest.mark.slow
def test_several_processes_train_as_the_readme_says(folder: Path) -> None:
    commands = [words for words in COMMANDS if words[0] == "torchrun"]
    assert commands
    for words in commands:
        with place_to_write(words, folder) as place:
            complete = with_inputs(words, place)[1:]
            paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "torch.distributed.run",
                    *complete,
                    "tracking.enabled=false",
                ],
                check=True,
                timeout=120,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            )


def test_what_the_other_commands_name_exists(folder: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in (words for words in COMMANDS if words[0] == "make"):
        assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in re.findall(r"'\.\[(\w+)\]'", README):
        assert extra in project["optional-dependencies"]
    for database in re.findall(r"mlflow ui .*sqlite:///(\S+)", README):
        assert (folder / database).is_file()


def test_every_preset_is_named() -> None:
    for name in preset_names():
        assert f"`{name}`" in README


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 150


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        titles = (
            re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M) if heading else ()
        )
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not heading or heading in anchors, link
