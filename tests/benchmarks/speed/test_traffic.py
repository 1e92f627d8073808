"""Counter of collective operations, on collectives with a known number of bytes."""

import pytest
import torch
import torch.distributed as dist

from benchmarks.speed.parallel.traffic import counted
from sphere_ops.parallel import launch
from tests.ranks import run

pytestmark = pytest.mark.parallel


def every_collective(path: str) -> None:
    """Run each collective with 6 numbers of 4 bytes, or 2 and 4 of them."""
    with launch.started(1, 2, timeout=60) as mesh:
        rank = mesh.latitude.rank
        x, halves = torch.arange(6.0), [torch.ones(3), torch.ones(3)]
        sizes = [2, 4] if rank == 0 else [4, 2]  # each keeps 2 and sends 4
        neighbours = [
            dist.P2POp(dist.isend, torch.ones(5), 1 - rank),
            dist.P2POp(dist.irecv, torch.ones(5), 1 - rank),
        ]
        calls = {
            "all_to_all_single": lambda: dist.all_to_all_single(
                torch.empty(6), x, [2, 4] if rank == 0 else [4, 2], sizes
            ),
            "even all_to_all_single": lambda: dist.all_to_all_single(torch.empty(6), x),
            "all_to_all": lambda: dist.all_to_all([torch.empty(3) for _ in halves], halves),
            "all_gather": lambda: dist.all_gather([torch.empty(6) for _ in halves], x),
            "all_reduce": lambda: dist.all_reduce(x.clone()),
            "reduce_scatter": lambda: dist.reduce_scatter(torch.empty(3), halves),
            "neighbours": lambda: [w.wait() for w in dist.batch_isend_irecv(neighbours)],
        }
        found = {}
        for name, call in calls.items():
            with counted() as traffic:
                call()
            found[name] = traffic.calls, traffic.sent
        dist.all_reduce(x)  # after the block: not counted
        found["after"] = traffic.calls, traffic.sent
        torch.save(found, f"{path}.{rank}")


def test_bytes_that_leave_a_rank_are_counted_and_its_own_part_is_not(tmp_path):
    path = tmp_path / "found"
    run(2, every_collective, path)
    expected = {
        "all_to_all_single": (1, 16),
        "even all_to_all_single": (1, 12),
        "all_to_all": (1, 12),
        "all_gather": (1, 24),
        "all_reduce": (1, 24),
        "reduce_scatter": (1, 12),
        "neighbours": (1, 20),
        "after": (1, 20),
    }
    for rank in range(2):
        assert torch.load(f"{path}.{rank}") == expected
