"""Examples of docs/extending.md, applied to a copy of the project and run as written."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
PACKAGES = ("sphere_ops", "configs", "data_prep", "forecast")
SHORT = ["training.steps=2", "training.validate_every=2", "tracking.enabled=false"]
RUN = """
import json, os, sys
from forecast.cli.main import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        if end.code:
            print("failed:", words, file=sys.stderr, flush=True)
            os._exit(end.code)
"""


def apply(block: str, project: Path) -> None:
    """Create a new file, or change a file as its diff shows."""
    first, text = block.split("\n", 1)
    path = project / first.removeprefix("# ")
    if not re.search(r"^[+]", text, re.MULTILINE):
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
        return
    lines = text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    source = path.read_text(encoding="utf-8")
    assert source.count(before) == 1, f"{first}: {source.count(before)} places like\n{before}"
    path.write_text(source.replace(before, after), encoding="utf-8")


def commands(section: str) -> list[list[str]]:
    """Return the commands of a section, split into words, with settings for short runs."""
    lines = re.findall(r"^    forecast (.+)$", SECTIONS[section], re.MULTILINE)
    found = [shlex.split(line) for line in lines]
    return [words + SHORT if words[0] == "train" else words for words in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the commands of all sections ran, one after the other."""
    folder = tmp_path_factory.mktemp("extending")
    project = folder / "project"
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, project / package, ignore=ignored)
    for text in SECTIONS.values():
        for block in re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            apply(block, project)
    write_inputs(folder)
    subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([w for s in SECTIONS for w in commands(s)])],
        check=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"},
    )
    return folder


def write_inputs(folder: Path) -> None:
    """Write the files that the examples read: a year of sea ice and of temperature."""
    latitude, longitude = np.arange(85.0, -90, -10), np.arange(5.0, 360, 10)
    time = np.arange("2000-01", "2001-01", dtype="datetime64[M]").astype("datetime64[D]")
    rows = np.broadcast_to(latitude[:, None], (12, len(latitude), len(longitude)))
    np.savez(
        folder / "archive.npz",
        sst=30 - np.abs(rows) / 3,
        time=time.astype(int),
        latitude=latitude,
        longitude=longitude,
    )
    ice = xr.Dataset(
        {"sit": (("time", "latitude", "longitude"), np.abs(rows), {"units": "cm"})},
        {
            "time": time.astype("datetime64[ns]"),
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
        },
    )
    ice.to_netcdf(folder / "ice.nc")


def test_a_new_branch_is_trained_and_in_the_package(folder: Path) -> None:
    package = json.loads((folder / "run" / "best" / "package.json").read_text())
    assert package["model"]["branches"]["diffusion"] == {"lmax": 8, "length_scale": 0.1}
    assert (folder / "forecast.nc").is_file()


def test_a_new_format_is_read(folder: Path) -> None:
    store = xr.open_zarr(folder / "archive.zarr", consolidated=False)
    expected = 30 - np.abs(store.latitude) / 3
    np.testing.assert_allclose(store.fields[3, 0, :, 5], expected, rtol=1e-6)


def test_a_new_score_is_in_the_scores_file_and_the_report(folder: Path) -> None:
    scores = xr.open_dataset(folder / "scores.nc")
    assert scores.centred_rmse.attrs["long_name"] == "Root mean square error without the bias"
    later = scores.isel(lead_time=slice(1, None))
    assert ((later.centred_rmse > 0) & (later.centred_rmse <= later.rmse * (1 + 1e-6))).all()
    assert "| centred rmse |" in (folder / "scores.md").read_text()
    assert (folder / "scores.png").is_file()


def test_a_new_loss_is_minimised(folder: Path) -> None:
    config = (folder / "run_l4" / "config.yaml").read_text()
    assert "loss: relative-l4" in config
    assert (folder / "run_l4" / "best" / "package.json").is_file()


def test_a_new_perturbation_makes_members_differ(folder: Path) -> None:
    start = xr.open_dataset(folder / "shifted.nc").vorticity.isel(lead_time=0)
    for member in range(3):
        np.testing.assert_array_equal(start[:, member], start[:, 0].roll(longitude=2 * member))


def test_a_new_case_is_solved(folder: Path) -> None:
    store = folder / "decaying.zarr"
    spectrum = xr.open_zarr(store, group="diagnostics", consolidated=False).kinetic_energy
    energy = spectrum.sum("degree")
    # Six hours of drag with an e-folding time of two days for the wind; diffusion takes some too.
    assert (energy.isel(time=6) < np.exp(-2 * 6 / 48) * energy.isel(time=0)).all()


def test_a_new_variable_is_ingested_in_its_units(folder: Path) -> None:
    store = xr.open_zarr(folder / "ice.zarr", consolidated=False)
    assert list(store.channel.values) == ["sithick"]
    assert store.channel_standard_name.values[0] == "sea_ice_thickness"
    assert store.channel_positive.values[0]
    np.testing.assert_allclose(store.fields[0, 0, :, 0], np.abs(store.latitude) / 100, rtol=1e-6)


def test_a_new_plot_is_drawn(folder: Path) -> None:
    assert (folder / "zonal.png").read_bytes().startswith(b"\x89PNG")
