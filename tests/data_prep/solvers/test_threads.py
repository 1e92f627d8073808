"""Iterators in threads: all values and errors arrive, and no thread outlives them."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from data_prep.solvers.threads import run_in_threads


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count(), torch.get_num_threads()
    yield
    until = time.monotonic() + 5
    while threading.active_count() > before[0] and time.monotonic() < until:
        time.sleep(0.01)
    assert (threading.active_count(), torch.get_num_threads()) == before


def counted(job: int, n: int = 20) -> Iterator[tuple[int, int]]:
    for i in range(n):
        yield job, i


@pytest.mark.parametrize("n", [1, 3])
def test_everything_arrives_each_job_in_its_order(n: int) -> None:
    items = list(run_in_threads((counted(job) for job in range(7)), n))
    assert sorted(items) == [(job, i) for job in range(7) for i in range(20)]
    for job in range(7):
        mine = [i for j, i in items if j == job]
        assert mine == sorted(mine)


def test_jobs_run_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=10)

    def meet(job: int) -> Iterator[int]:
        meeting.wait()
        yield job

    assert sorted(run_in_threads([meet(0), meet(1)], 2)) == [0, 1]


def test_an_error_of_a_job_is_raised_and_ends_the_others() -> None:
    begun: list[int] = []

    def failing(job: int) -> Iterator[int]:
        begun.append(job)
        if job == 1:
            raise ZeroDivisionError("in a thread")
        yield from range(1000)

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        list(run_in_threads((failing(job) for job in range(50)), 2))
    assert len(begun) < 5


def test_an_error_of_the_list_of_jobs_is_raised() -> None:
    def jobs() -> Iterator[Iterator[tuple[int, int]]]:
        yield counted(0)
        raise ZeroDivisionError("in the list")

    with pytest.raises(ZeroDivisionError, match="in the list"):
        list(run_in_threads(jobs(), 2))


def test_little_is_made_in_advance_and_nothing_after_the_taker_has_gone() -> None:
    made: list[int] = []

    def making(job: int) -> Iterator[int]:
        for i in range(1000):
            made.append(i)
            yield i

    items = run_in_threads((making(job) for job in range(4)), 2)
    for _ in range(5):
        next(items)
    items.close()
    assert 5 <= len(made) <= 5 + 1 + 2 * 2
