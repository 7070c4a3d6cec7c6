"""Shards made in the test's own process, where its stand-ins are."""

import pytest

from legan.data import shards


def make_shards_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make shards without worker processes; gives the list of the names of those made."""
    made: list[str] = []

    def run_here(function, places, n_workers, start, arguments, *, apart):
        if places:
            start(*arguments)
        for place in places:
            made.append(place[1].name)
            yield function(place)

    monkeypatch.setattr(shards, "run_jobs", run_here)
    return made
