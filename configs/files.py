"""Trees of sections from presets and YAML files, and from what they are based on."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from configs.variables import TABLE

BASE = "base"
"""Key of a file with the preset or file whose settings it changes."""
_FOLDER = Path(__file__).parent


class Loader(yaml.SafeLoader):
    """YAML loader: dates stay text, `1e-3` is a number, and duplicate keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; raise an error for a duplicate key."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", node.value[i][0].start_mark
                )
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith(":timestamp")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def preset_names() -> list[str]:
    """Return the names of the presets, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml") if path != TABLE)


def read_tree(name_or_path: str | Path) -> dict[str, Any]:
    """Read the tree of a preset or file, without validation.

    A file with `base: NAME_OR_PATH` holds changes of that preset or file. A path is relative to the
    folder of the file. Sections are merged key by key; all other values are replaced. A section of
    data from another source replaces that of the base.

    Raises:
        FileNotFoundError: if the preset or file, or a base, does not exist.
        ValueError: if a file cannot be read, or is based on itself.
    """
    return _read(name_or_path, ())


def _read(name_or_path: str | Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Read a tree that the files `above` are based on."""
    path = _path(name_or_path)
    tree = _parsed(path)
    base = tree.pop(BASE, None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise ValueError(f"{path}: base is {shown(base)}; expected a preset or the path of a file")
    chain = (*above, path.resolve())
    is_file = (path.parent / base).is_file() or Path(base).suffix or len(Path(base).parts) > 1
    found = path.parent / base if is_file and base not in preset_names() else base
    if _path(found).resolve() in chain:
        raise ValueError(f"{path}: base {base} is based on {path.name}; take another base")
    return _merged(_read(found, chain), tree)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a tree with changes."""
    tree = dict(base)
    for key, value in changes.items():
        before = tree.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            source = before.get("source")
            tree[key] = _merged(before, value) if value.get("source", source) == source else value
        else:
            tree[key] = value
    return tree


def _path(name_or_path: str | Path) -> Path:
    """Return the path of the file of a preset, or of a file that exists."""
    name = str(name_or_path)
    path = Path(name)
    if name in preset_names() and isinstance(name_or_path, str):
        path = _FOLDER / f"{name}.yaml"
    elif path.is_dir():
        raise ValueError(f"{name} is a folder; give a preset or a YAML file, as RUN/config.yaml")
    elif not path.is_file():
        if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
            raise FileNotFoundError(f"there is no configuration file {name}; check the path")
        near = get_close_matches(name, preset_names(), n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise FileNotFoundError(
            f"there is no preset {name!r}{hint}; presets: {', '.join(preset_names())}; "
            "or give the path of a YAML file"
        )
    return path


def _parsed(path: Path) -> dict[str, Any]:
    """Return the content of a file."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {yaml_problem(error)}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file; give a configuration in YAML") from None
    if not isinstance(tree, dict):
        raise ValueError(
            f"{path} is {'empty' if tree is None else shown(tree)}; expected sections such as "
            "`data:`"
        )
    return tree


def shown(value: Any) -> str:
    """Return the text of a value, shortened to fit on a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def yaml_problem(error: yaml.YAMLError) -> str:
    """Return the problem and its position in one line."""
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"{getattr(error, 'problem', None) or 'cannot be read'}{where}"
