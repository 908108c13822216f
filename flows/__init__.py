"""What people run under Prefect. Whatever imports it is a process in which Prefect is imported."""

import atexit
import gc
import runpy
import sys

# When Python looks for garbage. Importing Prefect makes a million objects which all stay, and with Python's own
# thresholds a third of the time of a start goes into looking through them.
gc.set_threshold(100_000, 50, 100)
atexit.register(gc.freeze)  # As it ends, Python would look through all of them again.


def run_module() -> None:
    """Run the module that the first argument names, as `python -m` does, and look for garbage less often."""
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)


QUICKLY = ("-P", "-c", "from standby.flows import run_module; run_module()")
"""Python's arguments for that. With `-P` nothing in the working folder is imported instead of what is installed."""
