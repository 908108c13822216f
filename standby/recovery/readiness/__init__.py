"""Whether the standby side of a plan could take over now, and why not."""
