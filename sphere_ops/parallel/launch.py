"""Start and end of a mesh of processes launched by `torchrun` or with its variables."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from sphere_ops.parallel.heartbeat import Heartbeat
from sphere_ops.parallel.mesh import SINGLE_PROCESS, Mesh, MeshError, WireDtype, use
from sphere_ops.parallel.partition import Shard

_LONGEST_START = 120.0
"""Seconds in which processes have to find each other."""
_PATIENCE = 3.0
"""Seconds in which the first process may explain a failure before others do."""

_store: Any = None
_rendezvous_count = 0


def launched() -> bool:
    """Return True if a launcher started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def world() -> int:
    """Number of processes that were launched."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def restarted() -> bool:
    """Return True if torchrun has restarted the processes after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextmanager
def started(
    data: int = 1,
    latitude: int = 1,
    *,
    device_type: str = "cpu",
    wire_dtype: WireDtype = "float32",
    timeout: float = 600.0,
    must_match: Mapping[str, str] | None = None,
) -> Iterator[Mesh]:
    """The mesh of all launched processes, current while the block lasts; identity of one alone.

    Args:
        data: processes that share a batch.
        latitude: processes that share the rows of every sample; neighbours in the numbering.
        device_type: "cpu" (gloo) or "cuda" (NCCL too, one device for each process of a machine).
        wire_dtype: type in which rows and wavenumbers of float32 fields are sent.
        timeout: seconds after which a process that does not answer ends the job.
        must_match: values that must be equal in all processes, such as versions, by name.

    Raises:
        ValueError: if the mesh is not that of the launched processes, they differ in `must_match`,
            or the port of their rendezvous is taken.
        MeshError: if they do not find each other.
    """
    if data * latitude != world():
        raise ValueError(
            f"a mesh of data={data} × latitude={latitude} takes {data * latitude} processes, but "
            f"there {'is 1' if world() == 1 else f'are {world()}'}; start them with "
            f"`torchrun --nproc-per-node {data * latitude} -m forecast ...`, or change mesh.data "
            "and mesh.latitude"
        )
    if not launched():
        with use(SINGLE_PROCESS):
            yield SINGLE_PROCESS
        return
    rank = int(os.environ["RANK"])
    store = _rendezvous(rank, timeout)
    _check_must_match(store, rank, must_match or {})
    heartbeat = Heartbeat(dist.PrefixStore("heartbeat", store), rank, world())
    if device_type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        device_mesh = _connect(store, rank, (data, latitude), device_type, timeout)
    except RuntimeError as error:
        raise MeshError(heartbeat.explain("connecting the processes", error)) from error
    heartbeat.start()
    shards = Shard(rank // latitude, data), Shard(rank % latitude, latitude)
    with use(Mesh(*shards, device_mesh, heartbeat, wire_dtype)) as mesh:
        yield mesh
    heartbeat.end()
    dist.destroy_process_group()


def failure_message(message: str) -> str | None:
    """Return what this process should print of its failure; common errors are printed once.

    Args:
        message: message of the error that ends this process.

    Returns:
        The message, None if the first process prints it, or the message with this rank's name.
    """
    rank = int(os.environ["RANK"]) if launched() else 0
    if rank == 0:
        if _store is not None:
            try:
                _store.set("failure", message)
            except RuntimeError:
                return message
        return message
    if _store is None:  # failed before rendezvous
        time.sleep(_PATIENCE)
        return None
    try:
        _store.wait(["failure"], timedelta(seconds=_PATIENCE))
        said = _store.get("failure").decode()
    except RuntimeError:
        said = ""
    time.sleep(0.2)  # the launcher ends the others as soon as one is gone: let them print first
    return None if said and (said == message or "the mesh broke" in message) else message


def _rendezvous(rank: int, timeout: float) -> Any:
    """Return the key-value store of all processes."""
    global _store, _rendezvous_count
    try:
        store, _, _ = next(
            dist.rendezvous("env://", timeout=timedelta(seconds=min(timeout, _LONGEST_START)))
        )
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        if "in use" in str(error) or "EADDRINUSE" in str(error):
            raise ValueError(
                f"{place}, the rendezvous of the processes, is in use; choose another port "
                "(`torchrun --master-port`, or MASTER_PORT)"
            ) from error
        raise MeshError(
            f"rank {rank} cannot reach the first process at {place} "
            f"({str(error).splitlines()[0]}); check MASTER_ADDR, MASTER_PORT and the network"
        ) from error
    _rendezvous_count += 1  # the store may outlive this mesh
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    _store = dist.PrefixStore(f"mesh {attempt}.{_rendezvous_count}", store)
    return _store


def _check_must_match(store: Any, rank: int, must_match: Mapping[str, str]) -> None:
    """Raise a ValueError on every rank if the processes differ in a value."""
    store.set(f"must_match/{rank}", json.dumps(dict(must_match)))
    everyone = [json.loads(store.get(f"must_match/{r}")) for r in range(world())]
    for name, value in everyone[0].items():
        others = [f"{of.get(name)} on rank {r}" for r, of in enumerate(everyone)
                  if of.get(name) != value]  # fmt: skip
        if others:
            raise ValueError(
                f"the processes differ in {name}: {value} on rank 0, {others[0]}; give all "
                "machines the same installation and configuration"
            )


def _connect(
    store: Any, rank: int, shape: tuple[int, int], device_type: str, timeout: float
) -> DeviceMesh:
    """The process groups of all and of both axes."""
    limit = timedelta(seconds=timeout)
    # Gloo beside NCCL: what is read, written and scored lies on the CPU.
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world(), timeout=limit)
    ranks = torch.arange(world()).view(shape)
    groups: list[dist.ProcessGroup] = []
    for lines in (ranks.T.tolist(), ranks.tolist()):  # along data, along latitude
        mine = [dist.new_group(line, timeout=limit) for line in lines]
        own = mine[next(i for i, line in enumerate(lines) if rank in line)]
        assert isinstance(own, dist.ProcessGroup)
        groups.append(own)
    return DeviceMesh.from_group(
        groups, device_type, mesh=ranks, mesh_dim_names=("data", "latitude")
    )
