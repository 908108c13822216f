"""Telling applications which resource is the active one."""
