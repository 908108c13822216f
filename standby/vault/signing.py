"""Signatures over what must not be changed unseen: manifests, evidence, the audit log.

The library for Ed25519 is imported only where a vault has such a key: nothing else signed needs it.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, assert_never

from pydantic import ConfigDict, ValidationError

from standby.config.errors import ConfigurationError
from standby.config.vault import Ed25519Signing, HmacSigning, Signing
from standby.document import Document, digest_of
from standby.vault.documents import Stored, parse_stored
from standby.vault.errors import FormatUnknown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class CannotSign(ConfigurationError):
    """Only the public key is here."""

    def __init__(self) -> None:
        cause = ["vault.signing has only a public key, which cannot sign"]
        super().__init__(cause, "Add private_key, or run this on a machine that has it")


class KeyUnusable(ConfigurationError):
    """A key of `vault.signing` is none."""

    def __init__(self, field: str) -> None:
        super().__init__([f"vault.signing.{field} is not 32 bytes in base64"], "Make one with openssl rand -base64 32")


class KeysApart(ConfigurationError):
    """The two keys of `vault.signing` are not a pair: what is signed here would never be verified here."""

    def __init__(self) -> None:
        cause = ["vault.signing.public_key is not the public half of vault.signing.private_key"]
        super().__init__(cause, "Leave public_key out, or give the one that belongs to private_key")


def signer_for(settings: Signing | None) -> Signer | None:
    """Make the signer of a configuration; `None` where it has no key. Raises what is wrong with its keys."""
    match settings:
        case None:
            return None
        case HmacSigning():
            return HmacSigner(settings.key.get_secret_value().encode())
        case Ed25519Signing():
            return _ed25519(settings)
        case _:
            assert_never(settings)


class HmacSigner:
    """HMAC-SHA-256: anybody who can check can also sign. A signature is `algorithm:base64`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def key_id(self) -> str:
        """Tells keys apart, and nothing about them."""
        return hmac.digest(self._key, b"standby key id", "sha256").hex()[:12]

    def sign(self, content: bytes) -> str:
        return f"hmac-sha256:{base64.b64encode(hmac.digest(self._key, content, 'sha256')).decode()}"

    def verifies(self, content: bytes, signature: str) -> bool:
        return hmac.compare_digest(signature.encode(), self.sign(content).encode())


class Ed25519Signer:
    """Ed25519: the public key is enough to check, but not to sign."""

    def __init__(self, private: Ed25519PrivateKey | None, public: Ed25519PublicKey) -> None:
        self._private = private
        self._public = public

    @property
    def key_id(self) -> str:
        return digest_of(self._public.public_bytes_raw())[:12]

    def sign(self, content: bytes) -> str:
        if self._private is None:
            raise CannotSign
        return f"ed25519:{base64.b64encode(self._private.sign(content)).decode()}"

    def verifies(self, content: bytes, signature: str) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

        algorithm, _, text = signature.partition(":")
        given = _from_base64(text)
        if given is None or algorithm != "ed25519":
            return False
        try:
            self._public.verify(given, content)
        except InvalidSignature:
            return False
        return True


Signer = HmacSigner | Ed25519Signer


def _ed25519(settings: Ed25519Signing) -> Ed25519Signer:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

    private = public = None
    if settings.private_key is not None:
        raw = _key(settings.private_key.get_secret_value(), "private_key")
        private = Ed25519PrivateKey.from_private_bytes(raw)
    if settings.public_key is not None:
        public = Ed25519PublicKey.from_public_bytes(_key(settings.public_key, "public_key"))
    if private is not None and public is not None and private.public_key() != public:
        raise KeysApart
    known = public or (private.public_key() if private else None)
    if known is None:
        raise KeyUnusable("private_key")
    return Ed25519Signer(private, known)


def _key(text: str, field: str) -> bytes:
    raw = _from_base64(text)
    if raw is None or len(raw) != 32:
        raise KeyUnusable(field)
    return raw


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None  # And no error from here on: its message may quote a key.


class LogMark(Document):
    """The newest line of a plan's audit log when something was written: by this its loss is noticed."""

    sequence: int
    digest: str


OTHER_KEY = "but the configured key is"
"""Stands in what is said of a signature that this key cannot check, which proves nothing wrong."""
PUT_IT_BACK = "Put that key back under vault.signing to check it"


class Seal(Document):
    """A signature and the key it is of."""

    model_config = ConfigDict(extra="forbid")

    key_id: str
    signature: str


class SealFile(Seal, Stored):
    """A seal in a file of its own, beside what it is of."""


def seal_of(content: bytes, signer: Signer) -> Seal:
    return Seal(key_id=signer.key_id, signature=signer.sign(content))


def sealed(content: bytes, signer: Signer) -> bytes:
    return SealFile(**seal_of(content, signer).model_dump()).model_dump_json().encode()


def unsealed(content: bytes, seal: bytes | None, signer: Signer | None) -> str:
    """Say what is wrong with the file of a seal; nothing is, where there is no key to check it with."""
    if signer is None or seal is None:
        return wrong_with(content, None, signer)
    try:
        found = parse_stored("It", seal, SealFile)
    except FormatUnknown as error:
        return error.cause.removeprefix("It ")
    except ValidationError:
        return "cannot be read"
    # One of an earlier version has no number.
    if found.model_dump_json(exclude_unset=True).encode() != seal:
        return "was changed after it was written"
    return wrong_with(content, found, signer)


def wrong_with(content: bytes, seal: Seal | None, signer: Signer | None) -> str:
    """Say what is wrong with the seal of some content; nothing is, where there is no key to check it with."""
    if signer is None:
        return ""
    if seal is None:
        return "is missing, though a key is configured"
    if not _is_plain(seal.signature):
        return "was changed after it was written"
    if seal.key_id != signer.key_id:
        return f"was made with key {seal.key_id[:12]}, {OTHER_KEY} {signer.key_id}"
    return "" if signer.verifies(content, seal.signature) else "belongs to other content"


def _is_plain(signature: str) -> bool:
    """Say whether a signature is written in the only way we write it: base64 has spare bits at its end."""
    text = signature.partition(":")[2]
    raw = _from_base64(text)
    return raw is not None and base64.b64encode(raw).decode() == text
