"""Disaster recovery for Azure Content Understanding analyzers; this library does not depend on Prefect."""

__version__: str


def __getattr__(name: str) -> str:
    """Read the version where it is asked for: what tells it takes longer to import than --help may take."""
    if name == "__version__":
        from importlib.metadata import version

        return version("standby")
    raise AttributeError(name)
