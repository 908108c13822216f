"""A Content Understanding service for one's own machine, with faults on demand."""
