"""Start-up setting of the allocator: its effect, its switch, and unchanged results."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from sphere_ops import Grid, RealSHT
from sphere_ops.memory import keep_freed_memory

active = keep_freed_memory()
torch.manual_seed(0)
x = torch.randn(512, 64, 128)
[huge] = [line for line in open("/proc/self/smaps_rollup") if "AnonHuge" in line]
coeffs = RealSHT(Grid.legendre_gauss(64, 128), lmax=64, mmax=64)(x)
print(active, int(huge.split()[1]) > 0, coeffs.abs().double().sum().item().hex())
"""


def run(switch: str) -> list[str]:
    environment = os.environ | {"SPHERE_OPS_KEEP_MEMORY": switch}
    environment.pop("THP_MEM_ALLOC_ENABLE", None)
    out = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, env=environment
    )
    return out.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is one of glibc")
def test_the_setting_has_a_switch_and_changes_no_result() -> None:
    (on, huge, with_it), (off, plain, without) = run("1"), run("0")
    assert (on, off) == ("True", "False")
    assert with_it == without
    with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
        if "[madvise]" in file.read():
            assert (huge, plain) == ("True", "False")
