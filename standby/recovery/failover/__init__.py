"""Switching a plan over from the side that serves to another one, and back: one switch, two directions."""
