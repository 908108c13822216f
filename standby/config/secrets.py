"""References of a configuration, `${NAME}`, `${file:PATH}` and `${keyvault:VAULT/NAME}`, and how their values are read.

Nothing else reads a secret. Azure's library is imported where a key vault is asked, and nowhere before.
"""

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeVar, cast

from pydantic import BaseModel, SecretStr

from standby.config.errors import valid
from standby.config.resource import CLOUDS, cloud_of

if TYPE_CHECKING:
    from azure.keyvault.secrets import SecretClient

VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
REFERENCE = re.compile(rf"\$\{{({VARIABLE}|(?:file|keyvault):[^{{}}]+)\}}")  # A whole value that is one reference
LARGEST_FILE = 64 * 1024  # Bytes of a file with a secret; a key vault's own limit is 25 KB
VAULT_SECONDS = 20.0  # How long a key vault may take for one secret, sign-in and retry included
VAULT_SUFFIXES = tuple(f".{cloud.vault}" for cloud in CLOUDS)
# Azure's own rules (Key Vault, "Objects, identifiers, and versioning").
_VAULT_NAME = re.compile(r"(?!.*--)[a-z][a-z0-9-]{1,22}[a-z0-9]")
_SECRET_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
_VERSION = re.compile(r"[0-9a-fA-F]{32}")


class Unresolved(ValueError):
    """A reference has no value: which, and why, as the end of a sentence; never with a value."""


def read_reference(reference: str, environ: Mapping[str, str], folder: Path = Path()) -> str:
    """Give the value of what stands between `${` and `}`; a relative path is taken from `folder`."""
    kind, _, rest = reference.partition(":")
    if kind == "file" and rest:
        return _read_file(folder / rest)
    if kind == "keyvault" and rest:
        return KEY_VAULTS.read(rest)
    if not re.fullmatch(VARIABLE, reference):
        raise Unresolved(
            "has ${…} around something that is not the name of a variable, file:PATH or keyvault:VAULT/NAME"
        )
    if reference not in environ:
        raise Unresolved(f"needs the environment variable {reference}, which is not set")
    return environ[reference]


def _read_file(path: Path) -> str:
    what = f"needs the file {path}, which"
    try:
        # Anything else, such as a pipe, may never end.
        if path.exists() and not path.is_file():
            raise Unresolved(f"{what} is {'a folder' if path.is_dir() else 'no regular file'}")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise Unresolved(f"{what} {reason}") from None
    if len(content) > LARGEST_FILE:
        raise Unresolved(f"{what} is larger than {LARGEST_FILE // 1024} KB: keep each secret in a file of its own")
    try:
        # The line end that echo writes, and that secrets of Docker and Kubernetes often have, is no part of the value.
        return _whole(re.sub(r"\r?\n\Z", "", content.decode()), what)
    except UnicodeDecodeError:
        # The codec's error holds the bytes.
        raise Unresolved(f"{what} is not UTF-8 text") from None


def _whole(value: str, what: str) -> str:
    """Give a value that is there and has nothing around it, as a key would not work with it and not say why."""
    if not value.strip():
        raise Unresolved(f"{what} is empty")
    if value.strip() != value or not value.isprintable():
        raise Unresolved(
            f"{what} has white space around its value, or a line end or control character in it: write the value alone"
        )
    return value


class KeyVaults:
    """The secrets of Azure Key Vault, each asked for once in a process."""

    def __init__(self) -> None:
        self._answers: dict[str, str | Unresolved] = {}
        self._clients: dict[str, SecretClient] = {}
        self._silent: dict[str, str] = {}  # why a vault is not asked again

    def read(self, reference: str) -> str:
        """Give the value of VAULT/NAME or VAULT/NAME/VERSION; `Unresolved` where it cannot be had."""
        if reference not in self._answers:
            try:
                self._answers[reference] = self._ask(*_parts(reference))
            except Unresolved as error:
                self._answers[reference] = error
        answer = self._answers[reference]
        if isinstance(answer, Unresolved):
            raise Unresolved(*answer.args)
        return answer

    def as_written(self, secret: SecretStr) -> SecretStr:
        """Give the reference that a value was read by; any other value stays."""
        read = (name for name, value in self._answers.items() if value == secret.get_secret_value())
        return next((SecretStr(f"${{keyvault:{name}}}") for name in read), secret)

    def resolved(self, secret: SecretStr) -> SecretStr:
        """Give the value of a secret that is a reference to a key vault; any other value stays."""
        found = REFERENCE.fullmatch(secret.get_secret_value())
        kind, _, rest = found[1].partition(":") if found else ("", "", "")
        return SecretStr(self.read(rest)) if kind == "keyvault" else secret

    def _ask(self, host: str, name: str, version: str | None) -> str:
        what = f"needs the secret {name} of the key vault {host}, which"
        if host in self._silent:
            raise Unresolved(f"{what} {self._silent[host]}")
        from azure.core.exceptions import (
            AzureError,
            ClientAuthenticationError,
            HttpResponseError,
            ResourceNotFoundError,
        )

        reason, answered = "", False
        try:
            client = self._client(host)
            found = _within(VAULT_SECONDS, lambda: client.get_secret(name, version))
        except ImportError:
            reason, answered = 'needs an extra: pip install "standby[azure]"', True
        except ResourceNotFoundError:
            reason, answered = "does not exist there", True
        except ClientAuthenticationError:
            reason = "no Azure identity could sign in for: run az login, or give this machine a managed identity"
        except HttpResponseError as error:
            reason, answered = f"was refused with status {error.status_code}", True
            if error.status_code == 403:
                reason += ": give the identity the role Key Vault Secrets User, and see that the secret is enabled"
        except TimeoutError:
            reason = f"was not given within {VAULT_SECONDS:.0f} s"
        except (AzureError, ValueError) as error:
            reason = f"could not be read ({type(error).__name__}): check the name of the key vault and the network"
        else:
            return _whole(found.value or "", what)
        if not answered:
            self._silent[host] = reason
        # Raised here and not above: Azure's errors hold the answer, even as a context.
        raise Unresolved(f"{what} {reason}")

    def _client(self, host: str) -> "SecretClient":
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.secrets import SecretClient

        if host not in self._clients:
            authority = {"authority": found} if (found := cloud_of(f"https://{host}").authority) else {}
            limits = {"retry_total": 1, "connection_timeout": 5, "read_timeout": 8}
            self._clients[host] = SecretClient(f"https://{host}", DefaultAzureCredential(**authority), **limits)
        return self._clients[host]


KEY_VAULTS = KeyVaults()


def _parts(reference: str) -> tuple[str, str, str | None]:
    """Give host, name and version of a reference to a key vault; `Unresolved` where it is not one of Azure's."""
    vault, _, rest = reference.partition("/")
    name, _, version = rest.partition("/")
    host = vault.lower() if "." in vault else f"{vault}.{CLOUDS[0].vault}".lower()
    if not host.endswith(VAULT_SUFFIXES) or not _VAULT_NAME.fullmatch(host.partition(".")[0]) or host.count(".") != 3:
        ends = ", ".join(f"NAME{suffix}" for suffix in VAULT_SUFFIXES)
        raise Unresolved(f"needs the key vault {vault}, which is not a name of one: write NAME, {ends}")
    if not _SECRET_NAME.fullmatch(name):
        raise Unresolved(f"needs a secret of the key vault {vault}, and {name or 'nothing'} is not a name of one")
    if "/" in rest and not _VERSION.fullmatch(version):
        raise Unresolved(f"needs the secret {name} of the key vault {vault}, and {version} is not one of its versions")
    return host, name, version or None


T = TypeVar("T")


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Give what some work comes to; `TimeoutError` where that takes longer. The process does not wait for its end."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except Exception as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    return answer.result(seconds)


def resolved(value: T) -> T:
    """Put values where the secrets of a model are references to key vaults; `ValueError` where one cannot be had."""
    return _with_secrets(value, KEY_VAULTS.resolved)


def as_written(value: T) -> T:
    """Put the references back by which secrets of a model were read from key vaults: these are what is saved."""
    return _with_secrets(value, KEY_VAULTS.as_written)


def _with_secrets(value: T, change: Callable[[SecretStr], SecretStr]) -> T:
    """Change every secret in a model or a collection; a model that changed is checked again."""
    changed: object = value
    if isinstance(value, SecretStr):
        changed = change(value)
    elif isinstance(value, dict):
        changed = {name: _with_secrets(each, change) for name, each in value.items()}
    elif isinstance(value, tuple):
        changed = tuple(_with_secrets(each, change) for each in value)
    elif isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        if (after := _with_secrets(fields, change)) != fields:
            named = {field.alias or name: after[name] for name, field in type(value).model_fields.items()}
            changed = valid(type(value), **named)
    return cast(T, changed)
