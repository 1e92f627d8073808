"""Rules of the source code: imports between packages, first lines of docstrings, start-up time."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import forecast
from configs.files import preset_names
from configs.load import load_config

ROOT = Path(__file__).parents[1]
PACKAGES = ("sphere_ops", "configs", "data_prep", "forecast")
MAY_IMPORT = {
    "sphere_ops": set(),
    "configs": set(),
    "data_prep": {"configs", "sphere_ops"},
    "forecast": {"configs", "sphere_ops", "data_prep.store"},
    "forecast.cli": {"configs", "sphere_ops", "data_prep"},
}
"""Allowed imports between packages; only `forecast.cli` may import all of `data_prep`."""
ROOMS = {
    "sphere_ops": {
        "": set(),  # grid, precision, memory, insolation
        "parallel": set(),
        "kernels": {"parallel"},
        "engine": {"kernels", "parallel"},
        "harmonics": {"engine", "kernels", "parallel"},
        "branches": {"engine", "kernels", "parallel"},
    },
    "configs": {"": {"time"}, "time": set()},
    "data_prep": {
        "store": set(),
        "ingest": {"store"},
        "solvers": {"store"},
        "equations": {"store", "solvers"},
        "shallow_water": {"store", "ingest", "solvers"},
        "gcm": {"store", "ingest"},
    },
    "forecast": {
        "model": set(),
        "inference": {"model"},
        "training": {"model", "inference"},
        "verification": {"model", "inference"},
        "interop": {"model", "inference"},
        "plotting": {"model", "inference", "training", "verification"},
        "report": {"model", "inference", "training", "verification", "plotting"},
        "cli": {
            "model", "inference", "interop", "training", "verification", "plotting", "report",
        },
    },
}  # fmt: skip
"""Allowed imports inside each package; all may import the modules beside the sub-packages ("")."""
MOST_MODULES = 15
SINGLE_IMPORTERS = {
    "mlflow": {"forecast/training/tracking/mlflow_tracker.py"},
    "cartopy": {"forecast/plotting/projections.py"},
    "apex": {"forecast/training/optimizer.py"},
    "distributed": {"sphere_ops/parallel/cluster.py"},
    "torch.distributed": {
        f"sphere_ops/parallel/{name}.py" for name in ("mesh", "launch", "sharded_optimizer")
    },
}
NOT_FIRST = {"What", "Who", "Where", "How", "Whether", "Of", "As of"}
"""Words with which no docstring begins: its first line says what a thing is or does."""
HEAVY = ("torch", "torch_harmonics", "numpy", "xarray", "zarr", "matplotlib", "mlflow", "cartopy")


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def imported_modules(path: Path) -> tuple[str, ...]:
    """Return the absolute names that a file imports, also inside functions and by name."""
    return tuple(_imported_modules(path))


def _imported_modules(path: Path) -> Iterator[str]:
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
    """Return the sub-package of a module of this project; "" for a module beside them."""
    package, _, rest = module.partition(".")
    first = rest.partition(".")[0]
    return first if (ROOT / package / first).is_dir() else ""


def ours(path: Path) -> set[str]:
    """Return the modules and names of this project that a file imports."""
    return {m for m in imported_modules(path) if top(m) in {*PACKAGES, "tests", "benchmarks"}}


def docstrings(path: Path) -> Iterator[ast.Constant]:
    """Yield the docstrings of a file, with those of constants."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as docstring):
                yield docstring


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
            continue  # it imports the public names from all sub-packages
        allowed = ROOMS[package][own] | {own, ""}
        rooms = {room(m) for m in ours(path) if m.startswith(f"{package}.")}
        assert rooms <= allowed, f"{package}/{inside} imports {rooms - allowed}"


def test_every_folder_is_a_package_with_a_docstring_and_few_modules() -> None:
    for package in (*PACKAGES, "benchmarks"):
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
    """Operators in `torch.ops` may need instructions that a CPU lacks; public ones fall back.

    The operations that this project registers, `torch.ops.sphere_ops`, are its own.
    """
    for path in (p for package in PACKAGES for p in sources(package)):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = [ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)]
        used = imported_modules(path).count("torch.ops")
        assert used == names.count("torch.ops.sphere_ops"), path


def test_nobody_but_the_mesh_asks_how_many_processes_there_are() -> None:
    """On one rank every exchange is the identity: parallel code is not a special case."""
    for path in (p for package in PACKAGES for p in sources(package)):
        name = path.relative_to(ROOT).as_posix()
        if name in SINGLE_IMPORTERS["torch.distributed"]:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            one = any(isinstance(c, ast.Constant) and c.value in (0, 1) for c in compared)
            asked = any(isinstance(c, ast.Attribute) and c.attr == "ranks" for c in compared)
            assert not (one and asked), f"{name}, line {getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("package", [*PACKAGES, "benchmarks", "tests"])
def test_the_first_line_of_a_docstring_says_what_the_thing_is_or_does(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{docstring.lineno}: {docstring.value}"
        for path in sources(package)
        for docstring in docstrings(path)
        if str(docstring.value).lstrip().startswith(tuple(f"{word} " for word in NOT_FIRST))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "'What it is.'\n"
        "import mlflow.pytorch\n"
        "def f():\n"
        "    from data_prep.store.writer import x\n"
        "    importlib.import_module('cartopy.crs')\n"
        "    torch.distributed.barrier()\n"
    )
    found = set(imported_modules(path))
    assert {"mlflow.pytorch", "data_prep.store.writer", "cartopy.crs", "torch.distributed"} <= found
    assert [docstring.value for docstring in docstrings(path)] == ["What it is."]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads(name: str) -> None:
    load_config(name)


def test_every_public_name_of_forecast_can_be_imported() -> None:
    assert {getattr(forecast, name).__name__ for name in forecast.__all__} == set(forecast.__all__)


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    """Print help within a second; importing torch and torch-harmonics alone takes four."""
    code = f"import sys, forecast.cli.main; print(*[m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.split() == []
