"""An outage is never read as an empty vault."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)

from blocks.vault import says_missing


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response: Any = {"Error": {"Code": code}}


class NotFound(Exception):
    """As Google's."""


def azure(error: Exception, code: str | None) -> Exception:
    error.error_code = code  # type: ignore[attr-defined]  # azure-storage-blob sets it, and is not installed
    return error


def wrapped(cause: Exception) -> Exception:
    error = RuntimeError("An error occurred when attempting to download from container")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("/vault/x"),
        azure(ResourceNotFoundError(), "BlobNotFound"),
        wrapped(azure(ResourceNotFoundError(), "BlobNotFound")),
        ClientError("NoSuchKey"),
        wrapped(ClientError("404")),
        NotFound("404 GET https://storage/x: No such object: bucket/x"),
    ],
    ids=repr,
)
def test_a_missing_file_is_known_by_what_its_file_system_says(error: Exception) -> None:
    assert says_missing(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("The specified bucket does not exist"),
        azure(ResourceNotFoundError(), "ContainerNotFound"),
        azure(ResourceNotFoundError(), None),
        wrapped(ClientAuthenticationError("denied")),
        HttpResponseError("503"),
        wrapped(ServiceRequestError("no route to host")),
        ClientError("NoSuchBucket"),
        ClientError("AccessDenied"),
        NotFound("404 GET https://storage/x: The specified bucket does not exist."),
        ValueError("Path x does not exist."),
        IsADirectoryError("x"),
        PermissionError("x"),
        TimeoutError(),
        RuntimeError("File system could not be created"),
    ],
    ids=repr,
)
def test_everything_else_is_a_file_system_that_cannot_tell(error: Exception) -> None:
    assert not says_missing(error)
