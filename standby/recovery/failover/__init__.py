"""Failing a plan over from the resource that serves to another one, and rolling that back: one code path."""
