"""Report of the installation and of what works on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

Lines = dict[str, str]

_PACKAGES = (
    "sphere-forecast",
    "torch",
    "torch-harmonics",
    "numpy",
    "xarray",
    "zarr",
    "netCDF4",
    "mlflow",
    "cartopy",
    "eccodes",
)


def doctor() -> None:
    """Report versions, devices, kernels, tracking and coastlines."""
    typer.echo(report())


def report() -> str:
    """Return all sections as text; a section that fails has its error in its place."""
    sections: dict[str, Callable[[], Lines]] = {
        "versions": _versions,
        "machine": _machine,
        "kernels": _kernels,
        "optimisers": _optimisers,
        "tracking": _tracking,
        "maps": _maps,
    }
    blocks = []
    for title, section in sections.items():
        try:
            lines = section()
        except Exception as error:  # the command reports broken installations
            lines = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        width = max(map(len, lines))
        rows = (f"  {name:<{width}}  {text}" for name, text in lines.items())
        blocks.append("\n".join((title, *rows)))
    return "\n\n".join(blocks)


def _versions() -> Lines:
    lines = {"python": f"{platform.python_version()} ({sys.executable})"}
    for package in _PACKAGES:
        try:
            lines[package] = version(package)
        except PackageNotFoundError:
            extra = {"eccodes": "; GRIB files need it: pip install 'sphere-forecast[grib]'"}
            lines[package] = f"not installed{extra.get(package, '')}"
    return lines


def _machine() -> Lines:
    import psutil
    import torch

    memory = psutil.virtual_memory()
    lines = {
        "system": platform.platform(),
        "cores": f"{os.cpu_count()}, of which torch uses {torch.get_num_threads()}",
        "memory": f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available",
    }
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        lines[f"cuda:{i}"] = f"{device.name}, {device.total_memory / 2**30:.0f} GiB"
    if not torch.cuda.is_available():
        built = torch.version.cuda
        lines["cuda"] = f"no device{'' if built else ' (torch is built without CUDA)'}: CPU is used"
    return lines


def _kernels() -> Lines:
    import torch

    from sphere_ops.memory import keep_freed_memory

    lines = {}
    try:
        lines["torch-harmonics (compiled)"] = _torch_harmonics()
    except Exception as error:  # the error of a wheel for another torch varies
        lines["torch-harmonics (compiled)"] = (
            f"cannot be loaded with torch {torch.__version__} ({' '.join(str(error).split())}); "
            "install the two together: pip install --upgrade torch torch-harmonics"
        )
    compiler = next(
        filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None
    )
    lines["torch.compile (CPU)"] = (
        f"live, with {compiler}" if compiler else "not live: it needs a C++ compiler, such as g++"
    )
    lines["freed memory is kept"] = (
        "yes" if keep_freed_memory() else "no: glibc only, or switched off"
    )
    if torch.cuda.is_available():
        from torch.utils._triton import has_triton

        lines["torch.compile (CUDA)"] = "live" if has_triton() else "not live: triton is missing"
    return lines


def _torch_harmonics() -> str:
    """Return the state of the compiled kernels, tried with a layer that uses one."""
    import torch
    from torch_harmonics import DiscreteContinuousConvS2

    layer = DiscreteContinuousConvS2(
        1, 1, (8, 16), (8, 16), kernel_shape=(2, 2), theta_cutoff=1.0, optimized_kernel=True
    )
    with torch.no_grad():
        layer(torch.zeros(1, 1, 8, 16))
    if not layer.optimized_kernel:
        return "not live: this build brings none, its slow reference is used"
    return "live"


def _optimisers() -> Lines:
    from forecast.training.optimizer import optimizer_report

    return optimizer_report()


def _tracking() -> Lines:
    from forecast.training.tracking.mlflow_tracker import MLflowTracker

    uri = MLflowTracker().uri
    file = Path(uri.removeprefix("sqlite:///"))
    there = "is there" if file.exists() else "made by the first training run here"
    return {"MLflow": f"{uri} ({file.absolute()}, {there}; tracking.uri=... changes it)"}


def _maps() -> Lines:
    from forecast.plotting.coastlines import FILE

    lines = {"coastlines": str(FILE) if FILE.is_file() else f"missing: {FILE}; install again"}
    folder = os.environ.get("CARTOPY_DATA_DIR")
    if folder:
        there = "used" if Path(folder).is_dir() else "not a folder, so it is not used"
        lines["CARTOPY_DATA_DIR"] = f"{folder} ({there})"
    return lines
