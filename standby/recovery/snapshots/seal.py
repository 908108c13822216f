"""The signature of a manifest, in a file beside it.

Beside and not inside: the manifest's file is the very bytes that are signed, so that any tool can check it.
"""

from __future__ import annotations

import base64
import binascii

from pydantic import BaseModel, ConfigDict, ValidationError

from standby.recovery.signing import Signer


class Seal(BaseModel):
    """A signature and the key it is of.

    Attributes:
        key_id: tells keys apart, and nothing about them.
        signature: as `algorithm:base64`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_id: str
    signature: str


def sealed(manifest: bytes, signer: Signer) -> bytes:
    """Sign a manifest, and give what its seal's file holds."""
    return Seal(key_id=signer.key_id, signature=signer.sign(manifest)).model_dump_json().encode()


def unsealed(manifest: bytes, seal: bytes | None, signer: Signer | None) -> str:
    """Say what is wrong with the seal of a manifest; nothing is, where there is no key to check it with."""
    if signer is None:
        return ""
    if seal is None:
        return "is missing, though a key is configured"
    try:
        found = Seal.model_validate_json(seal)
    except ValidationError:
        return "cannot be read"
    if found.model_dump_json().encode() != seal or not _is_plain(found.signature):
        return "was changed after it was written"
    if found.key_id != signer.key_id:
        return f"is of the key {found.key_id[:12]}, and the configured one is {signer.key_id}"
    return "" if signer.verifies(manifest, found.signature) else "is not of this manifest"


def _is_plain(signature: str) -> bool:
    """Say whether a signature is written in the only way we write it: base64 has spare bits at its end."""
    text = signature.partition(":")[2]
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except (binascii.Error, ValueError):
        return False
