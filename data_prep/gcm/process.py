"""Process of a circulation model: another interpreter, if need be, which ends with this one."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import data_prep

log = logging.getLogger(__name__)

PYTHON = "SPHERE_FORECAST_GCM_PYTHON"
"""Environment variable with the Python interpreter of the environment of the model."""
REQUIRED = "jcm==3.0.*"
_ASK = "from importlib.metadata import version; print(version('jcm'))"
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
_LOG, _CODE = "worker.log", "code"


def find_python(given: str | Path | None = None) -> str:
    """Return the interpreter that has the model.

    Args:
        given: Interpreter to take; by default that of the environment variable
            SPHERE_FORECAST_GCM_PYTHON, or the one that runs.

    Raises:
        ValueError: if the model is not installed there, or has another version.
    """
    python = str(given or os.environ.get(PYTHON) or sys.executable)
    way_out = (
        "install it here with pip install 'sphere-forecast[gcm]', or in an environment of its own "
        f"(1.6 GB: python -m venv gcm; gcm/bin/pip install '{REQUIRED}'), and name that with "
        f"--python gcm/bin/python or {PYTHON}"
    )
    try:
        asked = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(f"{python} cannot be run ({error.strerror}); {way_out}") from None
    found = asked.stdout.strip()
    if asked.returncode or not found:
        raise ValueError(f"the circulation model jcm is not installed for {python}; {way_out}")
    if not found.startswith("3.0."):
        raise ValueError(f"{python} has jcm {found}, but version 3.0 is needed; {way_out}")
    return python


def run_worker(folder: Path, python: str, progress: Callable[..., None]) -> None:
    """Run the worker until all files of a run are written.

    Args:
        folder: Folder of the run, with `settings.json`.
        python: Interpreter that has the model; see `find_python`.
        progress: Callback with the days that are done, all days and the date.

    Raises:
        ValueError: if the model fails.
    """
    command = [python, "-m", "data_prep.gcm.worker"]
    command += [str(folder.absolute() / "settings.json"), str(folder.absolute())]
    path = folder / _LOG
    with (
        path.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
            env=worker_environment(folder), cwd=folder,
        ) as process,
    ):  # fmt: skip
        _follow(process, progress)
    if process.returncode:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        raise ValueError(
            f"the circulation model ended with code {process.returncode}: "
            f"{lines[-1] if lines else 'no reason'}; see {path}; the same command goes on with the "
            "month that it was in"
        )


def _follow(process: subprocess.Popen[str], progress: Callable[..., None]) -> None:
    """Report the progress of the worker until it ends; end it if this process is interrupted."""
    assert process.stdin is not None and process.stdout is not None
    try:
        for line in process.stdout:
            match line.split():
                case [done, total, day] if done.isdigit() and total.isdigit():
                    progress(int(done), int(total), day)
                case _:
                    log.debug("%s", line.rstrip())
    except KeyboardInterrupt:
        log.warning("interrupted; the months that are done are kept, and the same command goes on")
        raise
    finally:
        process.stdin.close()


def worker_environment(folder: Path) -> dict[str, str]:
    """Return the environment variables of the worker, which sees its own modules alone."""
    code = {"PYTHONPATH": str(_copy_of_the_code(folder)), "PYTHONUNBUFFERED": "1"}
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": _ONE_THREAD, **os.environ, **code,
            "OMP_NUM_THREADS": "1"}  # fmt: skip


def _copy_of_the_code(folder: Path) -> Path:
    """Copy the modules of the worker to the folder of a run, and return what to import them from.

    The package itself lies in an environment whose other packages may not fit the model's.
    """
    source, target = Path(data_prep.__file__).parent, folder.absolute() / _CODE
    shutil.rmtree(target, ignore_errors=True)
    for part in ("", "gcm", "gcm/worker"):
        (target / "data_prep" / part).mkdir(parents=True, exist_ok=True)
        for path in (source / part).glob("*.py" if part == "gcm/worker" else "__init__.py"):
            shutil.copy2(path, target / "data_prep" / part / path.name)
    return target
