"""Fixtures of all tests: one thread per process, no network services, the folder of real data."""

import logging
import os
import sqlite3  # noqa: F401
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# sqlite3 and pyproj before eccodes, which xarray loads to see what it can open: eccodes' wheel
# brings an SQLite that is too old for MLflow, and libraries that break a PROJ loaded after them.
import platformdirs
import pyproj  # noqa: F401
import pytest
from hypothesis import settings

from tests.workflow import Workflow

os.environ.setdefault("MPLBACKEND", "agg")
# Before torch: where other programs compute too, threads that spin cost ten times the time. The
# tensors of tests are too small for two threads, and other tests run in a process beside this one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A new cache for torch's compiler: from an old one it would take kernels that were generated for
# another instruction set or an earlier version of our operators, and compute wrong numbers.
_compiled = tempfile.TemporaryDirectory(prefix="torchinductor_")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _compiled.name
# Fixed seeds, and no time limit for one example: other programs compute too.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real files: `$SPHERE_FORECAST_DATA`, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("SPHERE_FORECAST_DATA", Path(__file__).parents[2] / "shared/data"))
    if not folder.is_dir():
        pytest.skip("no real data: set SPHERE_FORECAST_DATA to the folder that holds sst/")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep indices of GRIB files out of the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platformdirs, "user_cache_path", lambda name: folder / name)
        yield


@pytest.fixture(scope="session")
def run_forecast() -> Callable[..., int]:
    """Function that runs the command `forecast` in this process and returns its exit code."""
    from configs.layout import LOGGERS
    from forecast.cli.main import main

    handlers = logging.root.handlers[:]

    def run(*words: object) -> int:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        # The command sends the log to the stderr of its time, which is not that of the next test.
        logging.root.handlers[:] = handlers
        logging.captureWarnings(False)
        for package in LOGGERS:
            logging.getLogger(package).setLevel(logging.NOTSET)
        assert isinstance(caught.value.code, int)
        return caught.value.code

    return run


@pytest.fixture
def refused(
    run_forecast: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Function that runs a command, checks its exit code 2, and returns its one line of output."""

    def refuse(*words: object) -> str:
        capsys.readouterr()
        assert run_forecast(*words) == 2
        lines = capsys.readouterr().err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, lines
        assert lines[-1] == errors[0], lines
        assert "Traceback" not in "".join(lines)
        return errors[0]

    return refuse


@pytest.fixture(scope="session")
def workflow(
    tmp_path_factory: pytest.TempPathFactory, run_forecast: Callable[..., int]
) -> Workflow:
    """Output of the workflow of the preset swe_smoke: data, training and forecast."""
    t = Workflow(tmp_path_factory.mktemp("workflow"))
    assert run_forecast("data", "swe", "swe_smoke", "--out", t.store) == 0
    words = ("train", "swe_smoke", "--data", t.store, "--out", t.run, "tracking.enabled=false")
    assert run_forecast(*words) == 0
    assert run_forecast("rollout", t.run / "best", "--data", t.store, "--out", t.forecast) == 0
    assert run_forecast("evaluate", t.forecast, "--data", t.store, "--out", t.scores) == 0
    return t
