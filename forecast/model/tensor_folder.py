"""Folder of tensors and the JSON beside them: the form of packages and checkpoints on disk.

Tensors are safetensors, everything else JSON: nothing is ever unpickled. Whatever is written
appears whole or not at all, so that a kill or a full disk leaves the last version readable.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from configs import layout
from data_prep.store.outputs import cannot_write, scratch_beside


def write_folder(
    path: Path,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
    tensors_name: str,
    values_name: str,
) -> None:
    """Write a folder; the files of one that exists are replaced.

    Args:
        path: folder to write.
        tensors: tensors by name.
        values: anything that JSON can hold.
        tensors_name: file name of the tensors.
        values_name: file name of the values, which also hold the digest of the tensors.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        with scratch_beside(path) as scratch:
            scratch.mkdir(parents=True)
            contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
            save_file(contiguous, scratch / tensors_name)
            files = (scratch / tensors_name, path / tensors_name)
            digests = [file_digest(file) for file in files if file.exists()]
            text = json.dumps({**values, layout.DIGESTS: digests}, indent=1)
            (scratch / values_name).write_text(text, encoding="utf-8")
            shutil.copymode(scratch / values_name, scratch / tensors_name)  # safetensors' is 0600
            for name in (tensors_name, values_name):
                with open(scratch / name, "rb") as file:
                    os.fsync(file.fileno())
            if path.exists():
                # In this order, since the new description allows the old tensors, too: a kill
                # between the two leaves a package that loads.
                for name in (values_name, tensors_name):
                    os.replace(scratch / name, path / name)
            else:
                os.rename(scratch, path)
    except (SafetensorError, OSError) as error:
        raise cannot_write(path, error) from error


def read_json(file: Path) -> dict[str, Any]:
    """Read the values of a folder.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is damaged ({error}); copy it again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} is damaged (no JSON object); copy it again")
    return values


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read_tensors(file: Path, values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Read the tensors of a folder.

    Args:
        file: file of the tensors.
        values: values of the folder, with the digest of the tensors unless an old program wrote it.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it is damaged.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; copy the whole folder again")
    if layout.DIGESTS in values and file_digest(file) not in values[layout.DIGESTS]:
        raise ValueError(
            f"{file} is damaged (its SHA-256 is not the one that was written down); copy the whole "
            "folder again"
        )
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}); copy it again") from error
