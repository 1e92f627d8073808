"""What all tests share: one thread per process, no network services, where the real data are."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real files: `$SPHERE_FORECAST_DATA`, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("SPHERE_FORECAST_DATA", Path(__file__).parents[2] / "shared/data"))
    if not folder.is_dir():
        pytest.skip("no real data: set SPHERE_FORECAST_DATA to the folder that holds sst/")
    return folder
