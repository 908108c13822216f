"""Second encryption of the authorization token, in the seed page's protocol only."""

from __future__ import annotations

import secrets
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FreshKey(_Strict):
    """A random key for every copy."""

    kind: Literal["generate"] = "generate"


class NoEncryption(_Strict):
    """No second encryption of the authorization token."""

    kind: Literal["none"] = "none"


class GivenKey(_Strict):
    """One key for all copies of the plan."""

    kind: Literal["given"] = "given"
    key: SecretStr = Field(min_length=1, description="Key that encrypts the authorization token.")


Encryption = Annotated[FreshKey | NoEncryption | GivenKey, Field(discriminator="kind")]
"""Second encryption of the authorization token, in the seed page's protocol only."""

KEY_BYTES = 32
"""Length of a fresh key; the page says nothing of lengths."""


def key_for_copy(encryption: Encryption) -> SecretStr | None:
    """Give the key that one copy's token is encrypted with, or none."""
    match encryption:
        case GivenKey():
            return encryption.key
        case FreshKey():
            return SecretStr(secrets.token_urlsafe(KEY_BYTES))
        case NoEncryption():
            return None
