"""Every way in which a delivery is refused, and what keeps the gateway from starting.

None carries a token, a header or a body.
"""

from typing import ClassVar

from standby.errors import StandbyError


class Refused(StandbyError):
    """A delivery is refused with this HTTP status; action groups try again after 408, 429 and 503."""

    status: ClassVar[int]


class NotAllowed(Refused):
    status = 401

    def __init__(self) -> None:
        cause = "The request does not have the gateway's token"
        super().__init__(cause, "Send it as Authorization: Bearer TOKEN, or as ?token=TOKEN where no header can be set")


class TooSlow(Refused):
    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body did not arrive within {seconds:.0f} s", "Send it again")


class TooLarge(Refused):
    status = 413

    def __init__(self, most: int) -> None:
        super().__init__(f"The body has more than {most} bytes", "Send fewer events at once")


class NotJson(Refused):
    status = 415

    def __init__(self) -> None:
        super().__init__("The request is not sent as plain JSON in UTF-8", "Send it as application/json")


class Malformed(Refused):
    status = 400

    def __init__(self, what: str, reason: str, next_action: str = "Correct the sender") -> None:
        super().__init__(f"The request is not a valid {what}: {reason}", next_action)


class TooMany(Refused):
    status = 429

    def __init__(self, most: int) -> None:
        super().__init__(f"More than {most} requests arrived within a minute", "Send it again later")


class NotPosted(Refused):
    status = 503

    def __init__(self, reason: str, next_action: str) -> None:
        super().__init__(f"The Prefect server did not accept the events: {reason}", next_action)


class PartUnreadable(StandbyError):
    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} cannot be read: {reason}", "See standby status, which says what that means")


class NoGatewayToken(StandbyError):
    def __init__(self) -> None:
        cause = "The configuration has no gateway.token, and without one anybody could report an outage"
        super().__init__(cause, "Write gateway: {token: ${STANDBY_GATEWAY_TOKEN}} into it and set that variable")


class NoPrefectServer(StandbyError):
    def __init__(self) -> None:
        cause = "PREFECT_API_URL names no Prefect server, so alerts cannot be posted"
        super().__init__(cause, "Set it to the server's API, such as http://127.0.0.1:4200/api")


class AddressUnusable(StandbyError):
    def __init__(self, address: str, reason: str) -> None:
        cause = f"The gateway cannot serve on {address}: {reason}"
        super().__init__(cause, "Choose another address with --host and --port")
