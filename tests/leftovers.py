"""What Prefect leaves behind in a process, and how far the tests forgive it."""

from __future__ import annotations

import warnings
from collections.abc import Generator

import pytest

LEFT_BY_PREFECT = r"Exception ignored in. <(socket|_Selector|function _Selector)"
"""How an event client of Prefect shows that its sockets were left to the garbage collector."""

RANDOM_IN_A_THREAD = (
    "ignore:Do not use the `random` module inside strategies:hypothesis.errors.HypothesisDeprecationWarning"
)
"""Threads that Prefect leaves draw random numbers, which hypothesis takes for a strategy's."""

_used_prefect = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Forgive what Prefect leaves behind from the first test on that uses it: any later one may find it.

    Before that, in the processes of other workers, and in runs without Prefect, a socket that is left open
    is ours, and fails the test.
    """
    config = item.config
    if item.get_closest_marker("prefect") and not config.stash.get(_used_prefect, False):
        config.stash[_used_prefect] = True
        forgiven = pytest.PytestUnraisableExceptionWarning
        config.addinivalue_line("filterwarnings", f"ignore:{LEFT_BY_PREFECT}:pytest.{forgiven.__name__}")
        config.addinivalue_line("filterwarnings", RANDOM_IN_A_THREAD)
        # For what is found after the last test, which happens under the filters that hold now.
        warnings.filterwarnings("ignore", LEFT_BY_PREFECT, forgiven)
    return (yield)
