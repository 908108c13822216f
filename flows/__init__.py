"""What people run under Prefect. Whatever imports it is a process in which Prefect is imported."""

import atexit
import gc

COLLECTIONS = (100_000, 50, 100)
"""When Python looks for garbage. Importing Prefect makes a million objects which all stay, and with Python's own
thresholds a third of the time of a start goes into looking through them."""

gc.set_threshold(*COLLECTIONS)
atexit.register(gc.freeze)  # As it ends, Python would look through all of them again.

QUICKLY = (
    f"import gc, runpy, sys; gc.set_threshold{COLLECTIONS}\n"
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
"""A program that runs the module it is given as `python -m` does, and looks for garbage less often."""
