"""The command in several processes: one error for all, and torchrun goes on after a death."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.load import dump_config
from configs.schema import Config
from forecast.cli.main import main
from forecast.model.package import load_training_state
from forecast.training.tracking.recorder import read_metrics
from tests.forecast.small_run import config
from tests.ranks import ROOT, environment, finish, start

pytestmark = pytest.mark.parallel


def configured(path: Path, latitude: int, model: dict | None = None, **training: int) -> Path:
    tree = config(model, **training).model_dump()
    tree["mesh"] = {"latitude": latitude, "timeout": 30}
    path.write_text(dump_config(Config.model_validate(tree)))
    return path


def command(folder: Path, words: list[str]) -> None:
    """`forecast` in a rank; what it says on stderr goes to a file of the rank's name."""
    with (folder / os.environ["RANK"]).open("w") as sys.stderr:
        try:
            main(words)
        except SystemExit as end:
            sys.stderr.flush()
            os._exit(int(end.code or 0))


def test_a_grid_with_fewer_rows_than_processes_is_refused_once(make_store, tmp_path):
    inner = {"kind": "equiangular", "nlat": 4, "nlon": 8}
    branches = {"spectral": {"lmax": 2}}
    file = configured(tmp_path / "c.yaml", 5, {"grid": inner, "branches": branches})
    words = ["train", file, "--data", make_store(tmp_path / "s.zarr"), "--out", tmp_path / "run"]
    codes = finish(start(5, command, tmp_path, [str(w) for w in words]), timeout=60, each=False)
    assert codes == [2] * 5
    said = [(tmp_path / str(rank)).read_text().splitlines() for rank in range(5)]
    assert said[0] == [
        "error: a grid of 4 rows cannot be split over 5 ranks; take a mesh with latitude 4 or less"
    ]
    assert said[1:] == [[]] * 4 and not (tmp_path / "run").exists()


def test_torchrun_goes_on_from_the_last_state_after_a_kill(make_store, tmp_path):
    file = configured(tmp_path / "c.yaml", 2, steps=12, validate_every=4)
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    run = ["-m", *torchrun, "-m", "tests.forecast.cli.dying_run", "train", file]
    store, out = make_store(tmp_path / "s.zarr"), tmp_path / "run"
    variables = {k: v for k, v in environment(0, 1, 0).items() if k.startswith("OMP")}
    done = subprocess.run(
        [sys.executable, *run, "--data", store, "--out", out],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "resuming at step 8 of 12" in (out / "train.log").read_text()
    assert [r["step"] for r in read_metrics(out / "metrics.jsonl")][-2:] == [10, 12]
    state = load_training_state(out)
    assert state is not None and state.step == 12
