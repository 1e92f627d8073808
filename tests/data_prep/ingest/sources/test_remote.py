"""Remote sources: a local HTTP server and a file system in memory."""

import functools
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr

from data_prep.ingest.sources import Sources, remote
from tests.data_prep.ingest.sources.samples import field

MakeGrib = Callable[..., Path]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a log."""

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Address of a server of the files in `tmp_path`."""
    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def memory() -> Iterator[Any]:
    """File system in memory, emptied afterwards."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSE_SECONDS", 0.0)


def t2m(url: str) -> np.ndarray:
    with Sources([url]) as sources:
        return sources[sources.paths[0]][0].t2m.values


def refused(*urls: str) -> str:
    with pytest.raises((ValueError, OSError)) as caught, Sources(urls) as sources:
        for path in sources.paths:
            sources[path]
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


def test_netcdf_over_http(served: str, fields: xr.Dataset, tmp_path: Path) -> None:
    fields.to_netcdf(tmp_path / "a.nc")
    np.testing.assert_array_equal(t2m(f"{served}/a.nc"), fields.t2m)


def test_grib_over_http_keeps_no_index_of_its_copy(
    served: str, make_grib: MakeGrib, cache_folder: Path
) -> None:
    make_grib([{"shortName": "2t"}])
    np.testing.assert_allclose(t2m(f"{served}/in.grib"), field(0), atol=1e-6)
    assert list(cache_folder.iterdir()) == []


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_zarr_over_http(zarr_format: Any, served: str, fields: xr.Dataset, tmp_path: Path) -> None:
    fields.to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=True)
    np.testing.assert_array_equal(t2m(f"{served}/a.zarr"), fields.t2m)


def test_pattern_over_http(served: str, fields: xr.Dataset, tmp_path: Path) -> None:
    for name in ("a.nc", "b.nc", "c.txt"):
        fields.to_netcdf(tmp_path / name)
    assert Sources([f"{served}/*.nc"]).paths == [f"{served}/a.nc", f"{served}/b.nc"]
    assert "no file matches" in refused(f"{served}/*.grib")


def test_a_file_is_fetched_once_and_its_copy_removed(
    served: str, fields: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields.to_netcdf(tmp_path / "a.nc")
    copies = []
    fetch = remote.fetch
    monkeypatch.setattr(
        "data_prep.ingest.sources.collection.fetch",
        lambda url, target: copies.append(target) or fetch(url, target),
    )
    with Sources([f"{served}/a.nc"]) as sources:
        assert not copies
        for _ in range(3):
            sources[f"{served}/a.nc"][0].t2m.load()
        assert len(copies) == 1 and copies[0].exists()
    assert not copies[0].exists()


def test_netcdf_zarr_and_patterns_in_memory(
    memory: Any, fields: xr.Dataset, tmp_path: Path
) -> None:
    fields.to_netcdf(tmp_path / "a.nc")
    memory.put(str(tmp_path / "a.nc"), "/data/a.nc")
    fields.to_zarr("memory://data/b.zarr", zarr_format=2, consolidated=False)
    np.testing.assert_array_equal(t2m("memory://data/a.nc"), fields.t2m)
    np.testing.assert_array_equal(t2m("memory://data/b.zarr"), fields.t2m)
    assert Sources(["memory://data/*.nc"]).paths == ["memory://data/a.nc"]
    assert Sources(["memory://data/"]).paths == ["memory://data/a.nc", "memory://data/b.zarr"]


def test_files_in_a_zip_archive(fields: xr.Dataset, tmp_path: Path) -> None:
    import zipfile

    fields.to_netcdf(tmp_path / "a.nc")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(tmp_path / "a.nc", "in/a.nc")
    np.testing.assert_array_equal(t2m(f"zip://in/a.nc::file://{tmp_path}/data.zip"), fields.t2m)
    found = Sources([f"zip://in/*.nc::file://{tmp_path}/data.zip"]).paths
    assert found == [f"zip://in/a.nc::file://{tmp_path}/data.zip"]


def test_zarr_in_memory_is_read_by_threads(memory: Any, fields: xr.Dataset) -> None:
    from concurrent.futures import ThreadPoolExecutor

    fields.chunk(time=1).to_zarr("memory://a.zarr", zarr_format=2)
    with Sources(["memory://a.zarr"]) as sources, ThreadPoolExecutor(8) as pool:

        def read(k: int) -> np.ndarray:
            return sources["memory://a.zarr"][0].t2m[k % 3].values

        for k, values in enumerate(pool.map(read, range(60))):
            np.testing.assert_allclose(values, field(k % 3), atol=1e-6)


@pytest.mark.parametrize("name", ["a.nc", "a.zarr", "folder/a"])
def test_an_address_that_does_not_exist_is_named(name: str, served: str) -> None:
    assert f"{served}/{name}" in (text := refused(f"{served}/{name}"))
    assert "does not exist" in text or "is no zarr group" in text


def test_a_missing_file_in_memory_is_named(memory: Any) -> None:
    assert "memory://a.nc does not exist" in refused("memory://a.nc")


@pytest.mark.parametrize("name", ["a.nc", "a.zarr", "*.nc"])
def test_a_host_that_cannot_be_reached_is_named(name: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    text = refused(f"http://127.0.0.1:{port}/{name}")
    assert "cannot be reached" in text and "check the address and the connection" in text


def test_a_server_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_READ_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        text = refused(f"http://127.0.0.1:{silent.getsockname()[1]}/a.nc")
        assert time.monotonic() - start < 10
    assert "did not answer within 0.2 s" in text


def test_a_connection_that_breaks_once_is_tried_again(
    served: str, fields: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields.to_netcdf(tmp_path / "a.nc")
    send, failures = Handler.copyfile, [1]

    def broken(self: Handler, source: Any, output: Any) -> None:
        if failures:
            failures.pop()
            self.wfile.write(source.read(100))
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            send(self, source, output)

    monkeypatch.setattr(Handler, "copyfile", broken)
    np.testing.assert_array_equal(t2m(f"{served}/a.nc"), fields.t2m)


def test_a_damaged_remote_file_is_named_by_its_address(served: str, tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    text = refused(f"{served}/a.nc")
    assert f"{served}/a.nc cannot be read" in text and "try again, or copy it first" in text


def test_references_to_chunks_of_other_files_are_a_zarr_group(
    fields: xr.Dataset, tmp_path: Path
) -> None:
    """Such references are how kerchunk describes archives of netCDF and GRIB files."""
    fields.to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    files = [path for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()]
    references = {
        path.relative_to(tmp_path / "a.zarr").as_posix(): [str(path), 0, path.stat().st_size]
        for path in files
    }
    (tmp_path / "references.json").write_text(json.dumps({"version": 1, "refs": references}))
    np.testing.assert_array_equal(
        t2m(f"reference://::file://{tmp_path}/references.json"), fields.t2m
    )


def test_an_unknown_protocol_is_named() -> None:
    text = refused("nowhere://a/b.nc")
    assert "nowhere://a/b.nc cannot be opened" in text and "a URL that fsspec knows" in text


@pytest.mark.parametrize(("url", "package"), [("gs://a/b.nc", "gcsfs"), ("s3://a/b.nc", "s3fs")])
def test_a_protocol_without_its_package_names_the_package(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    fsspec.registry.clear() if hasattr(fsspec.registry, "clear") else None
    assert f"{url} needs the package {package}: pip install {package}" in refused(url)


def test_the_fingerprint_of_a_remote_file_changes_with_it(
    served: str, fields: xr.Dataset, tmp_path: Path
) -> None:
    url = f"{served}/a.nc"
    fields.to_netcdf(tmp_path / "a.nc")
    sources = Sources([url])
    before = sources.fingerprint(url)
    assert before["name"] == "a.nc" and before["size"] == (tmp_path / "a.nc").stat().st_size
    assert before == sources.fingerprint(url)
    (tmp_path / "a.nc").write_bytes(b"other")
    assert sources.fingerprint(url)["digest"] != before["digest"]


def test_the_fingerprint_of_a_remote_zarr_changes_with_its_metadata(
    memory: Any, fields: xr.Dataset
) -> None:
    fields.to_zarr("memory://a.zarr", zarr_format=2)
    before = Sources(["memory://a.zarr"]).fingerprint("memory://a.zarr")
    fields.assign_attrs(history="changed").to_zarr("memory://a.zarr", zarr_format=2, mode="a")
    assert Sources(["memory://a.zarr"]).fingerprint("memory://a.zarr") != before
