"""All commands of `forecast plot` in an empty home folder, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forecast.inference.forecast import run_rollout
from tests.forecast.plotting.ensemble_files import with_members
from tests.forecast.plotting.score_files import write_comparison, write_scores
from tests.forecast.stand_in import Turning

ROOT = Path(__file__).parents[3]
CODE = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("a picture must not need a network")
socket.socket.connect = socket.getaddrinfo = refuse
from forecast.cli.main import _main
for line in sys.stdin.read().splitlines():
    try:
        _main(["--debug", "plot", *line.split()])
    except SystemExit as end:
        assert not end.code, line
"""


@pytest.mark.slow
def test_every_kind_of_picture_is_drawn(make_store, tmp_path):
    store = make_store(tmp_path / "s.zarr", "files", mask=True)
    run_rollout(Turning(store, 0.9), store, tmp_path / "f.nc", n_steps=2)
    with_members(tmp_path / "f.nc", tmp_path / "e.nc", 3)
    write_scores(tmp_path / "scores.nc")
    write_comparison(tmp_path / "c.nc")
    lines = {
        "map.png": "map f.nc --variable sst --projection south-polar --truth s.zarr",
        "box.pdf": "map e.nc --variable sst --member 2 --box -30,30,150,-120 --limits 20,40",
        "h.svg": "hovmoeller f.nc --variable sst --along latitude",
        "section.png": "section f.nc --variable t2m",
        "series.png": "series e.nc --region tropics --truth s.zarr",
        "spaghetti.png": "spaghetti e.nc --variable t2m --projection orthographic",
        "spread.png": "spread e.nc --variable sst --region europe",
        "scores.png": "scores scores.nc --region tropics",
        "card.png": "scorecard c.nc",
        "ranks.png": "ranks scores.nc --lead 3d",
        "reliability.png": "reliability scores.nc",
        "spectrum.png": "spectrum f.nc --data s.zarr --variable t2m",
        "a.gif": "animation f.nc --variable t2m --fps 4",
    }
    home = tmp_path / "home"
    home.mkdir()
    names = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CARTOPY_DATA_DIR")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT)}
    before = set(tmp_path.iterdir())
    run = subprocess.run(
        [sys.executable, "-c", CODE],
        input="\n".join(f"{words} --out {name}" for name, words in lines.items()),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert {path.name for path in set(tmp_path.iterdir()) - before} == set(lines)
    assert all((tmp_path / name).stat().st_size > 3000 for name in lines)
