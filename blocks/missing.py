"""How the file systems behind Prefect's blocks say that there is no such file.

Each has a way of its own, and only these count. Everything else, above all a bucket or container that is not
there, is a file system that cannot tell: an outage must never be read as an empty vault.
"""

from __future__ import annotations

from collections.abc import Iterator

_AZURE = frozenset({"BlobNotFound", "PathNotFound"})
_AWS = frozenset({"NoSuchKey", "404"})


def says_missing(error: BaseException) -> bool:
    """Say whether an error, or what caused it, means that the file is not there and the file system is."""
    return any(_says_missing(each) for each in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__


def _says_missing(error: BaseException) -> bool:
    # The SDKs are not installed with us, so they are known by what they say.
    if isinstance(error, FileNotFoundError):
        return "bucket" not in str(error).lower()
    name = type(error).__name__
    if name == "ResourceNotFoundError":
        code = getattr(error, "error_code", None)
        return getattr(code, "value", code) in _AZURE
    if name in {"ClientError", "NoSuchKey"}:
        answer = getattr(error, "response", None)
        return isinstance(answer, dict) and answer.get("Error", {}).get("Code") in _AWS
    return name == "NotFound" and "No such object" in str(error)
