"""Whether a standby resource could take over now, and why not."""
