"""Every way in which a delivery is turned away, and what keeps the gateway from starting.

GatewayError
├── Refused               a delivery is answered with an error, and becomes no event
│   ├── NotAllowed        401: without the token, or with another one
│   ├── TooSlow           408: its body did not come in time
│   ├── TooLarge          413
│   ├── NotJson           415: of another content type
│   ├── Malformed         400: not what it says it is
│   ├── TooMany           429
│   └── NotPosted         503: the Prefect server did not take its events
├── NoGatewayToken        the configuration has none
├── NoPrefectServer       nobody said where it is
└── AddressUnusable       nothing can be served there

None carries a token, a header or a body.
"""

from __future__ import annotations

from typing import ClassVar

from standby.errors import StandbyError


class GatewayError(StandbyError):
    """Base of this package's errors."""


class Refused(GatewayError):
    """A delivery is turned away.

    Attributes:
        status: of the HTTP answer. Action groups try again after 408, 429 and 503.
    """

    status: ClassVar[int]


class NotAllowed(Refused):
    """Whoever sent it did not show the token."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "It does not have the gateway's token",
            "Send it as Authorization: Bearer TOKEN, or as ?token=TOKEN where no header can be set",
        )
        self.args = ()


class TooSlow(Refused):
    """A body that trickles in holds a connection for nothing."""

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Its body did not come within {seconds:.0f} s")
        self.args = (seconds,)


class TooLarge(Refused):
    """Azure sends no alert of that size."""

    status = 413

    def __init__(self, most: int) -> None:
        super().__init__(f"Its body has more than {most} bytes")
        self.args = (most,)


class NotJson(Refused):
    """Something else than JSON was announced."""

    status = 415

    def __init__(self) -> None:
        super().__init__("It is not sent as plain JSON in UTF-8", "Send it as application/json")
        self.args = ()


class Malformed(Refused):
    """It is not what it should be."""

    status = 400

    def __init__(self, what: str, reason: str, next_action: str = "") -> None:
        super().__init__(f"It is no {what}: {reason}", next_action)
        self.args = (what, reason, next_action)


class TooMany(Refused):
    """More than the gateway takes."""

    status = 429

    def __init__(self, most: int) -> None:
        super().__init__(f"More than {most} came within a minute", "Send it again later")
        self.args = (most,)


class NotPosted(Refused):
    """Its events are not on the Prefect server, so its sender shall try again."""

    status = 503

    def __init__(self, reason: str, next_action: str) -> None:
        super().__init__(f"The Prefect server did not take its events: {reason}", next_action)
        self.args = (reason, next_action)


class NoGatewayToken(GatewayError):
    """Without a token anybody could report an outage."""

    def __init__(self) -> None:
        super().__init__(
            "The configuration has no gateway.token, and without one anybody could report an outage",
            "Write gateway: {token: ${STANDBY_GATEWAY_TOKEN}} into it and set that variable",
        )
        self.args = ()


class NoPrefectServer(GatewayError):
    """Nobody said where the Prefect server is."""

    def __init__(self) -> None:
        super().__init__(
            "PREFECT_API_URL names no Prefect server, so there is nowhere to pass alerts on to",
            "Set it to the server's API, such as http://127.0.0.1:4200/api",
        )
        self.args = ()


class AddressUnusable(GatewayError):
    """The address is taken, or is none of this machine."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"Nothing can be served on {address}: {reason}", "Choose others with --host and --port")
        self.args = (address, reason)
