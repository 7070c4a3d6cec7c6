"""Work in processes: every job once, errors come through."""

import math

import pytest

from legan.core.workers import run_jobs


@pytest.mark.parametrize("n_workers", [1, 2])
def test_every_job_is_done_once(n_workers):
    assert sorted(run_jobs(math.factorial, [1, 2, 3, 4], n_workers, len, ("start",))) == [1, 2, 6, 24]


def test_errors_of_a_job_come_through():
    with pytest.raises(ValueError, match="factorial"):
        list(run_jobs(math.factorial, [2, -1], 2, len, ("start",)))


def test_no_jobs_start_nothing():
    assert list(run_jobs(math.factorial, [], 2, math.factorial, (-1,))) == []
