"""The webhook: signed, tried again where that helps, and never a leak."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from standby.config.sinks import MARKED, WebhookSink, signing_key
from standby.recovery.activation.sinks import Activation, SinkAhead, SinkFailed
from standby.recovery.activation.webhook import WebhookActivation, standard_signature, webhook_name
from standby.service.retries import HttpRetries
from tests.standby.recovery.activation.test_file import AT, activation

URL = "https://hooks.example.com/services/canary-path?code=canary-query"
SECRET = "canary-secret"

AT_ONCE = HttpRetries(attempts=4, total=15, wait_initial=0, wait_max=0, wait_jitter=0, retry_after_cap=0)

Answer = Callable[[httpx.Request], httpx.Response]


class Receiver:
    """Answers one thing after the other, and keeps what it was sent."""

    def __init__(self, *answers: int | Exception | httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, text="canary-body") if isinstance(answer, int) else answer


def webhook(receiver: Receiver, url: str = URL, secret: str = SECRET) -> WebhookActivation:
    settings = WebhookSink(url=url, secret=SecretStr(secret))
    return WebhookActivation(settings, retries=AT_ONCE, transport=httpx.MockTransport(receiver))


async def test_the_receiver_can_check_who_sent_it_and_when() -> None:
    receiver = Receiver(204)
    await webhook(receiver).publish(activation(7, "west"))
    (request,) = receiver.requests
    stamp = request.headers["x-standby-timestamp"]
    # As the page for receivers has it: the timestamp, a dot, the body as it came.
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + request.content, hashlib.sha256).hexdigest()
    assert request.headers["x-standby-signature"] == f"sha256={expected}"
    assert abs(datetime.now(UTC).timestamp() - int(stamp)) < 60
    assert request.headers["x-standby-epoch"] == "7"
    assert Activation.model_validate_json(request.content) == activation(7, "west")


def test_the_signature_is_that_of_standardwebhooks() -> None:
    """By the example that its libraries are tested with."""
    key = signing_key(SecretStr(f"{MARKED}MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    signed = standard_signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [SECRET, "whsec_" + base64.b64encode(b"a key of 24 bytes or more").decode()])
async def test_receivers_of_either_header_scheme_can_check_it(secret: str) -> None:
    receiver = Receiver(204)
    await webhook(receiver, secret=secret).publish(activation(7, "west"))
    (request,) = receiver.requests
    message, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    key = b"a key of 24 bytes or more" if secret.startswith("whsec_") else secret.encode()
    expected = hmac.digest(key, f"{message}.{stamp}.".encode() + request.content, "sha256")
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    assert "." not in message
    old = hmac.new(secret.encode(), f"{stamp}.".encode() + request.content, hashlib.sha256).hexdigest()
    assert request.headers["x-standby-signature"] == f"sha256={old}"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_no base64"])
def test_a_secret_that_is_marked_and_is_no_key_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(ValidationError, match="the rest must be a key in base64") as caught:
        WebhookSink(url=URL, secret=SecretStr(secret))
    assert "no base64" not in str(caught.value)


async def test_a_message_has_the_same_id_whenever_it_is_sent_and_another_message_another_one() -> None:
    receiver = Receiver(503, 200)
    sink = webhook(receiver)
    first = activation(7, "west")
    later = first.model_copy(update={"as_of": AT + timedelta(hours=1), "changed_at": AT, "run_id": "another"})
    for each in (first, later, activation(7, None), activation(8, "west"), activation(7, "north")):
        await sink.publish(each)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    # The first one was tried again.
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids)) == 4
    assert ids[0].startswith("p-7-active-")


async def test_each_phase_of_an_epoch_has_a_key_of_its_own_and_the_same_one_again() -> None:
    receiver = Receiver(200)
    sink = webhook(receiver)
    for side in (None, "west", "west"):
        await sink.publish(activation(7, side))
    keys = [request.headers["idempotency-key"] for request in receiver.requests]
    assert keys == ["p-7-nobody", "p-7-active", "p-7-active"]


@pytest.mark.parametrize("failure", [429, 500, 503, 408, httpx.ConnectError(""), httpx.ReadTimeout("")])
async def test_what_passes_is_tried_again(failure: Any) -> None:
    receiver = Receiver(failure, failure, 200)
    await webhook(receiver).publish(activation(1, "west"))
    assert len(receiver.requests) == 3


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (503, "HTTP 503"),
        (httpx.ConnectError("canary"), "no connection"),
        (httpx.ReadTimeout("canary"), "no answer"),
    ],
)
async def test_what_does_not_pass_ends_after_a_bounded_number_of_tries(failure: Any, reason: str) -> None:
    receiver = Receiver(failure)
    with pytest.raises(SinkFailed, match=reason):
        await webhook(receiver).publish(activation(1, "west"))
    assert len(receiver.requests) == AT_ONCE.attempts


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    receiver = Receiver(status)
    with pytest.raises(SinkFailed, match=f"HTTP {status}"):
        await webhook(receiver).publish(activation(1, "west"))
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(("headers", "told"), [({"x-standby-epoch": "9"}, "epoch 9"), ({}, "a higher epoch")])
async def test_a_receiver_that_was_told_a_higher_epoch_says_so(headers: dict[str, str], told: str) -> None:
    receiver = Receiver(httpx.Response(409, headers=headers))
    with pytest.raises(SinkAhead, match=f"already has {told}, and this run has epoch 7"):
        await webhook(receiver).publish(activation(7, "west"))
    assert len(receiver.requests) == 1


async def test_a_redirect_is_not_followed() -> None:
    receiver = Receiver(httpx.Response(307, headers={"location": "https://elsewhere.example.com/"}))
    with pytest.raises(SinkFailed, match="redirects are not followed"):
        await webhook(receiver).publish(activation(1, "west"))
    assert [request.url.host for request in receiver.requests] == ["hooks.example.com"]


@pytest.mark.parametrize(
    "answer",
    [200, 400, 409, 503, httpx.ConnectError(URL), httpx.TooManyRedirects(URL), httpx.ReadError(SECRET)],
)
async def test_neither_secret_nor_address_nor_answer_is_told(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="standby")
    sink = webhook(Receiver(answer))
    told = sink.name
    try:
        await sink.publish(activation(1, "west"))
    except (SinkFailed, SinkAhead) as error:
        told += f"{error} {error.args} {error.__cause__} {error.__context__!r}"
    told += json.dumps([record.getMessage() for record in caplog.records if record.name.startswith("standby")])
    assert "canary" not in told


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (URL, "webhook hooks.example.com"),
        ("http://127.0.0.1:8080/x", "webhook 127.0.0.1:8080"),
        ("http://[::1]:8080/x", "webhook [::1]:8080"),
    ],
)
def test_it_is_called_after_its_host_alone(url: str, name: str) -> None:
    assert webhook_name(WebhookSink(url=url, secret=SecretStr("s"))) == name


async def test_it_cannot_be_read() -> None:
    assert await webhook(Receiver(200)).read("p") is None
