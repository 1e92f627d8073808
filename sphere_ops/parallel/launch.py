"""Start and end of a mesh of processes.

The processes are started by `torchrun`, or by another launcher that sets its variables.
"""

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
"""Limit of the rendezvous, seconds."""
_PATIENCE = 3.0
"""Seconds that other ranks wait for rank 0 to print a failure before they print it."""

_store: Any = None
_rendezvous_count = 0


def launched() -> bool:
    """Return True if a launcher started this process, as one of several or alone."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def world() -> int:
    """Return the number of launched processes."""
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
    """Make the mesh of all launched processes current in a context.

    A process without a launcher gets `SINGLE_PROCESS`, whose exchanges are the identity.

    Args:
        data: Number of ranks over which a batch is partitioned.
        latitude: Number of ranks over which rows are partitioned; they are numbered consecutively.
        device_type: "cpu" (gloo) or "cuda" (NCCL too, one device for each process of a machine).
        wire_dtype: Type in which rows and wavenumbers of float32 fields are sent.
        timeout: Limit of a collective operation, seconds; the job ends after it.
        must_match: Facts that must be the same on all ranks, such as versions, by name.

    Raises:
        ValueError: If data × latitude is not the number of launched processes, a fact differs
            between ranks, or the port of the rendezvous is in use.
        MeshError: If the rendezvous fails.
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
    try:
        with use(Mesh(*shards, device_mesh, heartbeat, wire_dtype)) as mesh:
            yield mesh
    finally:
        heartbeat.end()
    dist.destroy_process_group()


def failure_message(message: str) -> str | None:
    """Return the message for this process to print, so that a common error is printed once.

    Args:
        message: Message of the error that ends this process.

    Returns:
        The message, or None if rank 0 prints it.
    """
    rank = int(os.environ["RANK"]) if launched() else 0
    if rank == 0:
        if _store is not None:
            try:
                _store.set("failure", message)
            except RuntimeError:
                return message
        return message
    if _store is None:  # failed before the rendezvous
        time.sleep(_PATIENCE)
        return None
    try:
        _store.wait(["failure"], timedelta(seconds=_PATIENCE))
        said = _store.get("failure").decode()
    except RuntimeError:
        said = ""
    time.sleep(0.2)  # the launcher kills all ranks once one has ended: others must print first
    return None if said and (said == message or "the mesh broke" in message) else message


def _rendezvous(rank: int, timeout: float) -> Any:
    """Return the key-value store of all ranks."""
    global _store, _rendezvous_count
    try:
        store, _, _ = next(
            dist.rendezvous("env://", timeout=timedelta(seconds=min(timeout, _LONGEST_START)))
        )
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        if "in use" in str(error) or "EADDRINUSE" in str(error):
            raise ValueError(
                f"{place}, the address of the rendezvous, is in use; choose another port "
                "(`torchrun --master-port`, or MASTER_PORT)"
            ) from error
        raise MeshError(
            f"rank {rank} cannot reach rank 0 at {place} "
            f"({str(error).splitlines()[0]}); check MASTER_ADDR, MASTER_PORT and the network"
        ) from error
    _rendezvous_count += 1  # the store, with its old keys, may outlive this mesh
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    _store = dist.PrefixStore(f"mesh {attempt}.{_rendezvous_count}", store)
    return _store


def _check_must_match(store: Any, rank: int, must_match: Mapping[str, str]) -> None:
    """Raise a ValueError on every rank if a fact differs between ranks."""
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
    """Create the process groups of all ranks and of both axes."""
    limit = timedelta(seconds=timeout)
    # Gloo as well as NCCL: data that is read, written and scored is on the CPU.
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
