"""Remote sources through fsspec: listing, copies of files, stores of zarr groups."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from zarr.storage import FsspecStore

from data_prep.ingest.sources.errors import read_errors
from data_prep.ingest.sources.zarr_groups import METADATA

_CONNECT_SECONDS, _READ_SECONDS = 30.0, 60.0
_ATTEMPTS, _PAUSE_SECONDS = 3, 2.0
_STATE = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "mtime", "updated",
          "created", "Content-MD5", "md5Hash", "generation")  # fmt: skip


class _NotFound(FileNotFoundError):
    """Error of a remote source that is not there, with its full message."""


def is_url(word: str) -> bool:
    """Return True for a URL, also one of a local file or a chain of URLs."""
    return "://" in word or "::" in word


def local_path(word: str) -> str | None:
    """Return a local path, also if it is given as a file URL; None for a remote source."""
    if word.startswith(("file://", "local://")) and "::" not in word:
        return word.partition("://")[2]
    return None if is_url(word) else word


def expand_url(url: str, suffixes: Sequence[str]) -> list[str]:
    """Return the URLs that match a pattern, the files of a folder, or the URL itself.

    Raises:
        FileNotFoundError: if a pattern matches nothing.
        ValueError: if the protocol is unknown, or the place cannot be reached.
    """
    files, path = _filesystem(url)
    first, *chain = url.split("::")
    with _reached(url):
        if any(sign in path for sign in "*["):
            found = sorted(map(str, files.glob(path)))
            if not found:
                raise _NotFound(f"no file matches {url}; check the pattern")
        elif first.endswith("/") and not _is_zarr(files, path):
            names = sorted(str(name) for name in files.ls(path, detail=False))
            found = [n for n in names if n.lower().rstrip("/").endswith((*suffixes, ".zarr"))]
            if not found:
                raise ValueError(f"{url} is a folder without files of the kinds {suffixes}")
        else:
            return [url]
    protocol = first.partition("://")[0]
    full = [n if "://" in n else f"{protocol}://{n.lstrip('/')}" for n in found]
    return ["::".join([one, *chain]) for one in full]


def zarr_store(url: str, suffixes: Sequence[str]) -> FsspecStore | None:
    """Return the store of a zarr group; None if the URL is that of a file.

    Raises:
        ValueError: if the place cannot be reached.
    """
    files, path = _filesystem(url)
    if path.lower().endswith(tuple(suffixes)):
        return None
    with _reached(url):
        if _is_zarr(files, path):
            return FsspecStore.from_url(url, storage_options=_options(url), read_only=True)
        if path.rstrip("/").endswith(".zarr"):
            files.info(path)
            raise _NotFound(
                f"{url} is no zarr group: it holds none of {', '.join(METADATA)}; a zarr group on "
                "a server that does not list its files needs consolidated metadata"
            )
    return None


def fetch(url: str, target: Path) -> None:
    """Copy a remote file.

    Args:
        url: URL of the file.
        target: Path of the copy.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the place cannot be reached.
    """
    files, path = _filesystem(url)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _reached(url):
                files.get_file(path, str(target))
            return
        except (FileNotFoundError, PermissionError):
            raise
        except ValueError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS)


def remote_state(url: str) -> dict[str, Any]:
    """Return size and state (ETag, modification time) of a remote file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the place cannot be reached.
    """
    files, path = _filesystem(url)
    with _reached(url):
        info = files.info(path)
    state = {key: str(info[key]) for key in _STATE if info.get(key) is not None}
    return {"size": info.get("size"), "state": state}


def read_bytes(url: str, names: Sequence[str]) -> dict[str, bytes]:
    """Return the contents of those files under a URL that exist."""
    files, path = _filesystem(url)
    with _reached(url):
        paths = {_inside(path, name): name for name in names}
        return {n: files.cat_file(p) for p, n in paths.items() if files.exists(p)}


def _is_zarr(files: Any, path: str) -> bool:
    return any(files.exists(_inside(path, name)) for name in METADATA)


def _inside(folder: str, name: str) -> str:
    """Return the path of a file in a folder; the root of an archive has no name."""
    return f"{folder.rstrip('/')}/{name}" if folder.strip("/") else name


def _filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    protocol = url.partition("://")[0].split("::")[-1]
    try:
        files, path = url_to_fs(url, **_options(url))
    except ImportError as error:
        extra = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "s3a": "s3fs"}.get(protocol)
        package = f"the package {extra}: pip install {extra}" if extra else _line(error)
        raise ValueError(f"{url} needs {package}") from None
    except ValueError as error:
        known = "https, gs, s3, file, memory, zip"
        raise ValueError(
            f"{url} cannot be opened ({_line(error)}); expected a URL that fsspec knows, such as "
            f"{known}"
        ) from None
    return files, str(path)


def _options(url: str) -> dict[str, Any]:
    """Return the settings of the file system: time limits for connections by HTTP."""
    if not url.startswith(("http://", "https://")):
        return {}
    try:
        import aiohttp
    except ImportError:
        raise ValueError(f"{url} needs the package aiohttp: pip install aiohttp") from None
    limits = aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS
    )
    return {"client_kwargs": {"timeout": limits}}


@contextmanager
def _reached(url: str) -> Iterator[None]:
    """Turn the errors of file systems into one line."""
    try:
        yield
    except _NotFound:
        raise
    except read_errors() as error:
        raise _in_words(url, error) from None


def _in_words(url: str, error: Exception) -> Exception:
    """Return an error of a file system as an error that names the URL and the way out."""
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # by HTTP, fsspec reports every failure as a missing file
    status = getattr(error, "status", None)
    if isinstance(error, TimeoutError):
        return ValueError(
            f"{url} did not answer within {_READ_SECONDS:g} s; try again later, or copy it first"
        )
    if isinstance(error, FileNotFoundError) or status == 404:
        return FileNotFoundError(f"{url} does not exist; check the address")
    if isinstance(error, PermissionError) or status in (401, 403):
        return PermissionError(
            f"{url} may not be read ({_line(error)}); check the address and your credentials"
        )
    return ValueError(
        f"{url} cannot be reached ({_line(error)}); check the address and the connection"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
