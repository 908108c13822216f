"""Signatures: of one content and one key, and a key that is none is refused without being told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from standby.config.vault import Ed25519Signing, HmacSigning
from standby.vault.signing import CannotSign, KeysApart, KeyUnusable, Signer, signer_for

SECRET = "a shared secret of many letters"
PRIVATE = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(PRIVATE).public_key().public_bytes_raw()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def ed25519(private: bytes | None = None, public: bytes | None = None) -> Ed25519Signing:
    return Ed25519Signing(
        private_key=SecretStr(b64(private)) if private is not None else None,
        public_key=b64(public) if public is not None else None,
    )


def made(settings: HmacSigning | Ed25519Signing) -> Signer:
    signer = signer_for(settings)
    assert signer is not None
    return signer


SIGNERS = [made(HmacSigning(key=SecretStr(SECRET))), made(ed25519(PRIVATE))]
each_signer = pytest.mark.parametrize("signer", SIGNERS, ids=["hmac", "ed25519"])


def test_without_a_key_there_is_no_signer() -> None:
    assert signer_for(None) is None


@each_signer
@given(content=st.binary(), other=st.binary())
def test_a_signature_is_of_this_content_only(signer: Signer, content: bytes, other: bytes) -> None:
    signature = signer.sign(content)
    assert signer.verifies(content, signature)
    assert signer.verifies(other, signature) == (content == other)


@each_signer
@given(data=st.data())
def test_a_changed_signature_is_none(signer: Signer, data: st.DataObject) -> None:
    name, _, text = signer.sign(b"content").partition(":")
    raw = bytearray(base64.b64decode(text))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    assert not signer.verifies(b"content", f"{name}:{b64(bytes(raw))}")


@each_signer
@given(text=st.text())
def test_what_is_no_signature_verifies_nothing_and_raises_nothing(signer: Signer, text: str) -> None:
    for signature in (text, f"ed25519:{text}", f"hmac-sha256:{text}"):
        assert not signer.verifies(b"content", signature)


@each_signer
def test_another_key_or_another_way_does_not_verify(signer: Signer) -> None:
    others = [made(HmacSigning(key=SecretStr(SECRET + "!"))), made(ed25519(bytes(32)))]
    for other in [*SIGNERS, *others]:
        if other is not signer:
            assert not other.verifies(b"content", signer.sign(b"content"))
            assert other.key_id != signer.key_id


def test_an_hmac_is_what_any_other_program_makes_of_it() -> None:
    expected = hmac.new(SECRET.encode(), b"content", hashlib.sha256).digest()
    assert SIGNERS[0].sign(b"content") == f"hmac-sha256:{b64(expected)}"


def test_an_ed25519_signature_is_what_any_other_program_makes_of_it() -> None:
    expected = Ed25519PrivateKey.from_private_bytes(PRIVATE).sign(b"content")
    assert SIGNERS[1].sign(b"content") == f"ed25519:{b64(expected)}"


def test_with_the_public_key_alone_is_checked_and_not_signed() -> None:
    checker = made(ed25519(public=PUBLIC))
    assert checker.verifies(b"content", SIGNERS[1].sign(b"content"))
    assert checker.key_id == SIGNERS[1].key_id
    with pytest.raises(CannotSign) as refused:
        checker.sign(b"content")
    assert isinstance(pickle.loads(pickle.dumps(refused.value)), CannotSign)


def test_a_public_key_that_is_not_the_private_one_s_is_refused() -> None:
    # Otherwise everything that is signed here would be called forged by the next look.
    with pytest.raises(KeysApart) as refused:
        signer_for(ed25519(PRIVATE, bytes(32)))
    assert isinstance(pickle.loads(pickle.dumps(refused.value)), KeysApart)
    assert made(ed25519(PRIVATE, PUBLIC)).sign(b"content") == SIGNERS[1].sign(b"content")


@pytest.mark.parametrize("field", ["private_key", "public_key"])
@pytest.mark.parametrize(
    "key", ["", "short", "canary not base64 !!!!!!!!!!!!!!!!!!", b64(bytes(31)), b64(bytes(33)), "ä" * 44]
)
def test_a_key_that_is_none_is_refused_and_not_told(field: str, key: str) -> None:
    settings = Ed25519Signing.model_validate({field: key})
    with pytest.raises(KeyUnusable) as refused:
        signer_for(settings)
    assert f"vault.signing.{field}" in str(refused.value)
    assert len(key) < 6 or key not in repr(refused.value)
    assert refused.value.__cause__ is None
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


@each_signer
def test_the_id_of_a_key_tells_nothing_of_it(signer: Signer) -> None:
    assert len(signer.key_id) == 12
    for told in (signer.key_id, repr(signer), str(vars(signer).get("name", ""))):
        assert SECRET not in told
        assert b64(PRIVATE) not in told
