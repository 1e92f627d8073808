"""The rules of the house, held by reading the source: who imports whom, and what starts fast."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import forecast
from configs.load import load_config, preset_names

ROOT = Path(__file__).parents[1]
PACKAGES = ("sphere_ops", "configs", "data_prep", "forecast")
MAY_IMPORT = {
    "sphere_ops": set(),
    "configs": set(),
    "data_prep": {"configs", "sphere_ops"},
    "forecast": {"configs", "sphere_ops", "data_prep.store"},
    "forecast.cli": {"configs", "sphere_ops", "data_prep"},
}
"""What a package may import of the others; `forecast.cli` alone reaches the sources of data."""
ROOMS = {
    "sphere_ops": {
        "": set(),  # grid, precision, memory, insolation
        "parallel": set(),
        "kernels": {"parallel"},
        "engine": {"kernels", "parallel"},
        "harmonics": {"engine", "kernels", "parallel"},
        "branches": {"engine", "kernels", "parallel"},
    },
    "configs": {"": set()},
    "data_prep": {
        "store": set(),
        "ingest": {"store"},
        "shallow_water": {"store", "ingest"},
    },
    "forecast": {
        "model": set(),
        "inference": {"model"},
        "training": {"model", "inference"},
        "verification": {"model", "inference"},
        "plotting": {"model", "inference", "training", "verification"},
        "cli": {"model", "inference", "training", "verification", "plotting"},
    },
}
"""What each sub-package may import of its own package; all may import modules beside them ("")."""
MOST_MODULES = 15
SINGLE_IMPORTERS = {
    "mlflow": {"forecast/training/tracking/mlflow_tracker.py"},
    "cartopy": {"forecast/plotting/maps.py"},
    "apex": {"forecast/training/optimizer.py"},
    "torch.distributed": {
        f"sphere_ops/parallel/{name}.py" for name in ("mesh", "launch", "sharded_optimizer")
    },
}
HEAVY = ("torch", "torch_harmonics", "numpy", "xarray", "zarr", "matplotlib", "mlflow", "cartopy")


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    """Absolute names that a file imports, also inside functions and by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and is_import_call(node.func):
            if isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            # `torch.distributed.x` needs no import statement of its own.
            yield f"{node.value.id}.{node.attr}"


def is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def top(module: str) -> str:
    return module.partition(".")[0]


def room(module: str) -> str:
    """Sub-package of a module of ours, "" for a module beside the sub-packages."""
    package, _, rest = module.partition(".")
    first = rest.partition(".")[0]
    return first if (ROOT / package / first).is_dir() else ""


def ours(path: Path) -> set[str]:
    """Modules and names of this project that a file imports."""
    return {m for m in imported_modules(path) if top(m) in {*PACKAGES, "tests", "benchmarks"}}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_between_packages_go_in_one_direction(package: str) -> None:
    for path in sources(package):
        name = path.relative_to(ROOT).as_posix()
        in_cli = name.startswith("forecast/cli/")
        allowed = MAY_IMPORT["forecast.cli" if in_cli else package] | {package}
        wrong = [m for m in ours(path) if not any(f"{m}.".startswith(f"{a}.") for a in allowed)]
        assert not wrong, f"{name} imports {wrong}"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_a_package_go_in_one_direction(package: str) -> None:
    for path in sources(package):
        inside = path.relative_to(ROOT / package)
        own = inside.parts[0] if len(inside.parts) > 1 else ""
        if len(inside.parts) == 1 and inside.stem in ("__init__", "__main__"):
            continue  # the public names of the package, from all of its rooms
        allowed = ROOMS[package][own] | {own, ""}
        rooms = {room(m) for m in ours(path) if m.startswith(f"{package}.")}
        assert rooms <= allowed, f"{package}/{inside} imports {rooms - allowed}"


def test_every_folder_is_a_package_with_a_docstring_and_few_modules() -> None:
    for package in PACKAGES:
        for folder in {path.parent for path in sources(package)}:
            init = folder / "__init__.py"
            assert init.is_file(), folder
            assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), init
            modules = [path for path in folder.glob("*.py") if path != init]
            assert len(modules) <= MOST_MODULES, folder


@pytest.mark.parametrize("service", SINGLE_IMPORTERS)
def test_a_foreign_service_has_one_importer(service: str) -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in sources(package)
        if any(m == service or m.startswith(f"{service}.") for m in imported_modules(path))
    }
    assert importers <= SINGLE_IMPORTERS[service]


def test_no_operator_is_called_by_its_name_inside_torch() -> None:
    """Those behind `torch.ops` may need instructions that a CPU lacks; public ones fall back."""
    for path in (p for package in PACKAGES for p in sources(package)):
        assert "torch.ops" not in set(imported_modules(path)), path


def test_nobody_but_the_mesh_asks_how_many_processes_there_are() -> None:
    """Parallel is not a special case: alone, every exchange is the identity."""
    for path in (p for package in PACKAGES for p in sources(package)):
        name = path.relative_to(ROOT).as_posix()
        if name in SINGLE_IMPORTERS["torch.distributed"]:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            one = any(isinstance(c, ast.Constant) and c.value in (0, 1) for c in compared)
            asked = any(isinstance(c, ast.Attribute) and c.attr == "ranks" for c in compared)
            assert not (one and asked), f"{name}, line {getattr(node, 'lineno', 0)}"


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import mlflow.pytorch\n"
        "def f():\n"
        "    from data_prep.store.writer import x\n"
        "    importlib.import_module('cartopy.crs')\n"
        "    torch.distributed.barrier()\n"
    )
    found = set(imported_modules(path))
    assert {"mlflow.pytorch", "data_prep.store.writer", "cartopy.crs", "torch.distributed"} <= found


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads(name: str) -> None:
    load_config(name)


def test_every_public_name_of_forecast_can_be_imported() -> None:
    assert {getattr(forecast, name).__name__ for name in forecast.__all__} == set(forecast.__all__)


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    """Help has to answer in a second; torch and torch-harmonics alone take four."""
    code = f"import sys, forecast.cli.main; print(*[m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.split() == []
