from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from standby.service.redaction import MOST_CHARACTERS, code_of, hidden, keep_secret, one_line

SECRETS = st.text(st.characters(codec="utf-8")).filter(lambda text: "*" not in text).map("canary{}".format)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Not found.", "Not found"),
        ("  two\r\nlines\tand a tab ", "two lines and a tab"),
        ("bell\x07 and \x1b[31mred\x1b[0m", "bell and [31mred [0m"),
        ("right\u202eleft", "right left"),
        ("a…. . .", "a…"),
        ("", ""),
        (
            "https://x.blob.core.windows.net/c?sv=1&sig=canary%3D&se=2",
            "https://x.blob.core.windows.net/c?sv=1&sig=***&se=2",
        ),
        ("?SIG=canary'", "?SIG=***'"),
        ("Bearer eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl was refused", "Bearer *** was refused"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx", "***"),
    ],
)
def test_a_message_becomes_one_line_without_what_looks_secret(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize("secret", ["canary/+=", "canary key", "clé-canary", "50%-Canary", 'a"b\\c-canary'])
def test_a_known_secret_is_hidden_in_any_usual_encoding(secret: str) -> None:
    spelled = [secret, quote(secret), quote(secret, safe=""), json.dumps(secret)]
    keep_secret(SecretStr(secret))
    assert one_line(" ".join(spelled)) == '*** *** *** "***"'
    assert hidden(f"https://{secret.lower()}.example") == "https://***.example"


@pytest.mark.parametrize(
    "spell",
    [
        str.upper,
        lambda secret: f"{secret[:9]}\r\n   {secret[9:]}",
        "\u200b".join,
        lambda secret: secret.encode().hex(),
        lambda secret: b64encode(secret.encode()).decode(),
        lambda secret: b64encode(f"user:{secret}".encode()).decode(),
        lambda secret: urlsafe_b64encode(f"k={secret}&more".encode()).decode(),
    ],
    ids=["upper case", "over two lines", "zero-width", "hex", "Base64", "Base64 behind a user", "Base64 of URLs"],
)
def test_a_known_secret_is_hidden_however_it_is_broken_or_encoded(spell: Callable[[str], str]) -> None:
    secret = "ca???ry>>>of/the+Key~7f3a9c"
    keep_secret(SecretStr(secret))
    before = spell(secret)
    shown = one_line(f"refused: {before}, of claim")
    assert shown.startswith("refused: ")
    assert shown.endswith(", of claim")
    left = shown.removeprefix("refused: ").removesuffix(", of claim")
    assert "***" in left
    # Of Base64, the characters that are partly of what stands beside it may be left.
    assert len(left.replace("***", "")) <= len(before) - len(secret)


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    for secret in ("canary", "canary-long"):
        keep_secret(SecretStr(secret))
    assert hidden("canary-long") == "***"


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("found")])
def test_what_is_no_secret_or_too_short_for_one_hides_nothing(secret: SecretStr | None) -> None:
    keep_secret(secret)
    assert one_line("Not found") == "Not found"


def test_a_secret_in_use_stays_known_however_many_come_and_go() -> None:
    for number in range(3000):
        keep_secret(SecretStr("canary-of-a-resource"))
        keep_secret(SecretStr(f"canary-{number:04}"))
    assert hidden("canary-of-a-resource canary-2999") == "*** ***"
    assert len(hidden("canary-0000")) == len("canary-0000")


@pytest.mark.parametrize("spell", [str, quote])
def test_a_secret_is_no_code_and_no_id(spell: Callable[[str], str]) -> None:
    keep_secret(SecretStr("canary-key.1"))
    assert code_of(spell("canary-key.1")) is None
    assert code_of("before-canary-key.1-after") is None


@given(st.text())
def test_a_line_is_printable_bounded_and_has_no_full_stop(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= MOST_CHARACTERS
    assert not line.endswith((".", " "))
    assert line == line.lstrip()


@given(st.text(), SECRETS, st.text())
def test_no_known_secret_is_left_in_a_text(before: str, secret: str, after: str) -> None:
    keep_secret(SecretStr(secret))
    assert secret not in hidden(before + secret + after)


@pytest.mark.parametrize("code", ["NotFound", "a", "0-1.2_3", "x" * 100])
def test_a_code_is_taken_as_it_is(code: str) -> None:
    assert code_of(code) == code


@pytest.mark.parametrize("value", [None, 5, b"NotFound", "", "-a", "a b", "a\n", "é", "x" * 101, ["a"], "<b>"])
def test_what_is_no_code_is_not_taken(value: object) -> None:
    assert code_of(value) is None


def test_a_long_message_is_cut_and_shows_it() -> None:
    assert one_line("x" * 301) == "x" * 299 + "…"
    assert one_line("x" * 300) == "x" * 300
