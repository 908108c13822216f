"""Bringing a plan back to where it came from, with every edit that was made meanwhile."""
