"""What people run under Prefect. Whatever imports it is a process in which Prefect is imported."""

import atexit
import gc

COLLECTIONS = (100_000, 50, 100)
"""When Python looks for garbage. Importing Prefect makes a million objects which all stay, and with Python's own
thresholds a third of the time of a start goes into looking through them."""

gc.set_threshold(*COLLECTIONS)
atexit.register(gc.freeze)  # As it ends, Python would look through all of them again.
