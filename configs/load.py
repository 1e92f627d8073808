"""Loading of presets and YAML files, with dotted overrides, into a `Config`."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from configs.files import Loader, read_tree, shown, yaml_problem
from configs.schema import DATA_SOURCES, Config

_UNIONS = {
    ("data",): tuple([name] for name in DATA_SOURCES),
    ("data", "splits"): (["ranges"], ["fractions"]),
}
"""Keys of unions, where pydantic adds a tag to a location, and the tags."""

_MOVED_KEYS = {
    ("mesh", "payload"): "wire_dtype",
    ("mesh", "chunks"): None,
    ("model", "mlp"): None,
}
"""Keys of earlier versions, and their new names in the same section; None for removed keys."""

_log = logging.getLogger(__name__)


def load_config(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Load a configuration.

    Args:
        name_or_path: Name of a preset, or path of a YAML file.
        overrides: Texts "dotted.key=value", where the value is YAML (numbers, null, [lists],
            {mappings}).

    Raises:
        FileNotFoundError: if the preset or file does not exist.
        ValueError: if a key or value is wrong. The message names the first one, the allowed values
            and the nearest valid name.
    """
    return config_from_tree(read_tree(name_or_path), overrides, str(name_or_path))


def config_from_tree(tree: dict[str, Any], overrides: Sequence[str], source: str) -> Config:
    """Return the configuration of a tree of sections, which the overrides change in place.

    Args:
        tree: Sections by name.
        overrides: Texts "dotted.key=value", as for `load_config`.
        source: Name of the tree for messages.

    Raises:
        ValueError: if a key or value is wrong.
    """
    for override in overrides:
        _override(tree, override)
    _migrate(tree)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ValueError(_explain(error, source)) from None


def is_override(word: str) -> bool:
    """Return True if a word of a command line is an override KEY=VALUE, False if it is a path.

    An existing file with a name of that form is a path, and so is a list that begins with one.
    """
    is_path = Path(word).exists() or Path(word.partition(",")[0]).exists()
    return re.match(r"[A-Za-z_][\w.]*=", word) is not None and not is_path


def dump_config(config: BaseModel) -> str:
    """Return the YAML text of a configuration, or of one of its sections."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _migrate(tree: dict[str, Any]) -> None:
    """Rename or drop keys of earlier versions, in place."""
    for (section, old), new in _MOVED_KEYS.items():
        node = tree.get(section)
        if not isinstance(node, dict) or old not in node or (new is not None and new in node):
            continue
        value = node.pop(old)
        if new is None:
            _log.info("%s.%s=%s is ignored: the setting no longer exists", section, old, value)
        else:
            node[new] = value
            _log.info("%s.%s is now %s.%s", section, old, section, new)


def _override(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key of the tree in place."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or "" in key.split("."):
        raise ValueError(f"override {override!r} is not key=value, as in training.steps=100")
    try:
        value = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"override {override!r}: {yaml_problem(error)}") from None
    *parents, last = key.split(".")
    node: Any = tree
    for i, part in enumerate(parents):
        node = _child(node, part, key)
        if not isinstance(node, dict | list):
            holder = ".".join(parents[: i + 1])
            raise ValueError(f"override {key}: {holder} is {shown(node)} and has no keys")
    if isinstance(node, list):
        node[_index(node, last, key)] = value
    else:
        node[last] = value


def _child(node: Any, part: str, key: str) -> Any:
    """Return the child of a node; an absent or null section becomes an empty one."""
    if isinstance(node, list):
        return node[_index(node, part, key)]
    if part.isdecimal():
        raise ValueError(f"override {key}: the list is not in the file; give all of it as [...]")
    if node.get(part) is None:
        node[part] = {}
    return node[part]


def _index(items: list[Any], part: str, key: str) -> int:
    """Return the index of a list from a part of a dotted key."""
    if not part.isdecimal() or int(part) >= len(items):
        raise ValueError(
            f"override {key}: {part!r} is no index of a list of {len(items)}; "
            f"use 0 to {len(items) - 1}, or give the whole list as [..., ...]"
        )
    return int(part)


# --- errors of pydantic in one line ---------------------------------------------------------------


def _explain(error: ValidationError, source: str) -> str:
    """Return a sentence on the first problem: key, value, allowed values, nearest valid name."""
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = problem["loc"]
    key = _dotted(location)
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        parent, name = _dotted(location[:-1]), str(location[-1])
        names = _keys_at(location[:-1])
        near = get_close_matches(name, names, n=1)
        where = f"in {parent}" if parent else "at the top"
        text = (
            f"unknown key {key}{f'; nearest: {near[0]}' if near else ''}; "
            f"allowed {where}: {', '.join(names)}"
        )
    elif kind == "missing":
        text = f"the key {key} is missing"
    elif kind.startswith("union_tag"):
        received = context.get("tag")
        sources = ", ".join(map(repr, DATA_SOURCES))
        text = f"{key}.source is {received!r}; allowed: {sources}"
        if kind == "union_tag_not_found":
            text = f"the key {key}.source is missing; allowed: {sources}"
    elif kind == "value_error":
        text = f"{key}: {context['error']}" if key else str(context["error"])
    elif kind == "literal_error":
        received = problem["input"]
        allowed = re.findall(r"'([^']*)'", context["expected"])
        near = get_close_matches(str(received), allowed, n=1)
        nearest = f" (nearest: {near[0]})" if near else ""
        text = f"{key} is {shown(received)}; allowed: {context['expected']}{nearest}"
    elif kind in ("model_type", "model_attributes_type"):
        keys = ", ".join(_keys_at(location))
        text = f"{key} is {shown(problem['input'])}; it should be a section with the keys {keys}"
    else:
        message = problem["msg"].replace("Input should be", "it should be")
        message = message.replace("valid tuple", "list [...]").replace("dictionary", "mapping")
        text = f"{key} is {shown(problem['input'])}; {message[0].lower()}{message[1:]}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return " ".join(f"configuration {source}: {text}{more}".split())


def _dotted(location: tuple[int | str, ...]) -> str:
    """Return the dotted key of a location, without the tags that pydantic adds for unions."""
    parts = [str(part) for part in location]
    for path, tags in _UNIONS.items():
        if parts[: len(path)] == list(path) and parts[len(path) : len(path) + 1] in tags:
            del parts[len(path)]
    return ".".join(parts)


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section at a location."""
    models: list[type[BaseModel]] = [Config]
    for part in location:
        if isinstance(part, int):
            continue
        tagged = [m for m in models if _tag(m) == part]
        below = [
            found
            for model in models
            if part in model.model_fields
            for found in _models_in(model.model_fields[part].annotation)
        ]
        models = tagged or below or models  # unchanged for the tag of a union
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _tag(model: type[BaseModel]) -> object:
    """Return the value of `source` that selects this section of a union."""
    field = model.model_fields.get("source")
    return field.default if field is not None else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that an annotation contains."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple, list, dict):
        return [found for argument in get_args(annotation) for found in _models_in(argument)]
    return []
