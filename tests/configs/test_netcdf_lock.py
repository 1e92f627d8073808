import pickle
from concurrent.futures import ThreadPoolExecutor

from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

from configs.netcdf_lock import NETCDF_LOCK


def in_another_thread(lock) -> bool:
    """Return True if another thread can take a lock."""

    def take() -> bool:
        taken = lock.acquire(blocking=False)
        if taken:
            lock.release()
        return taken

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(take).result()


def test_it_keeps_out_other_threads_and_xarray_until_the_last_release():
    with NETCDF_LOCK:
        with NETCDF_LOCK:
            assert not in_another_thread(NETCDF_LOCK)
        assert not in_another_thread(NETCDF_LOCK)
        assert NETCDF4_PYTHON_LOCK.locked()
    assert in_another_thread(NETCDF_LOCK)
    assert NETCDF4_PYTHON_LOCK.acquire(blocking=False)
    assert not in_another_thread(NETCDF_LOCK)
    NETCDF4_PYTHON_LOCK.release()
    assert in_another_thread(NETCDF_LOCK)


def test_a_copy_is_the_lock_of_its_process():
    assert pickle.loads(pickle.dumps(NETCDF_LOCK)) is NETCDF_LOCK
