"""Failback: the primary serves again, with every edit that was made meanwhile."""
