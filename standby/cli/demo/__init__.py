"""`standby demo`: the main job end to end, on this machine alone."""

from standby.cli.demo.command import command

__all__ = ["command"]
