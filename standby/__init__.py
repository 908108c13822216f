"""Disaster recovery for Azure Content Understanding analyzers; this library knows nothing of Prefect."""

__version__ = "0.1.0"
