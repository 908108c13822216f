"""Errors between Standby and a Prefect server."""

import os
from collections.abc import Sequence
from pathlib import Path

from standby.config.errors import ConfigurationError
from standby.errors import GuardRefused, StandbyError
from standby.text import some_of


class DeploymentsUnusable(StandbyError):
    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"The deployments in {file} cannot be used: {reason}", "Correct it, or install Standby again")


class DeployFailed(StandbyError):
    def __init__(self, last_words: list[str]) -> None:
        cause = f"prefect deploy failed: {' '.join(last_words) or 'it gave no reason'}"
        super().__init__(cause, "Add -v to see its whole output, and correct what it says")


class BootstrapUnfinished(StandbyError):
    def __init__(self, saved: Sequence[str], error: Exception) -> None:
        if not isinstance(error, StandbyError):
            # Never in its own words: Prefect's repeat what was sent, and that may be a key.
            answer = getattr(error, "response", None)
            asked = answer and f"{answer.request.method} {answer.request.url.path}: HTTP {answer.status_code}"
            reason = f"Prefect did not save what it was given ({asked or type(error).__name__})"
            error = StandbyError(reason, "Check that its server works; its log says more")
        done = f"Before that: {some_of(saved, most=6)}" if saved else "Nothing was saved"
        super().__init__(
            [*error.cause.split("\n"), done], f"{error.next_action}. Then run this again: it saves what is missing"
        )


class NotificationBlockUnusable(ConfigurationError):
    def __init__(self, block: str, reason: str) -> None:
        action = "Save a notification block of that type and name in the Prefect UI, or name another one"
        super().__init__([f"The block {block} under notifications {reason}"], action)


class NoChunkDeployment(StandbyError):
    def __init__(self, name: str) -> None:
        cause = f"The Prefect server has no deployment {name}, which workers need to copy in chunks"
        super().__init__(cause, "Run standby bootstrap, or start the run with dispatch: inline")


class NoReport(StandbyError):
    def __init__(self, run: str, message: str) -> None:
        super().__init__(f"Flow run {run} ended without a report: {message}", "See its log in the Prefect UI")


class RunLost(StandbyError):
    def __init__(self, reason: str) -> None:
        action = "See standby status for what serves; run it again, or with --via direct, which needs no server"
        super().__init__(f"The Prefect server did not keep the flow run: {reason}", action)


OR_DIRECT = ", or run with --via direct, which needs no Prefect server"
"""The end of what to do about a server, for commands that can do without one."""


class NoServer(StandbyError):
    def __init__(self, why: str = "") -> None:
        cause = f"No Prefect server is configured{why.rstrip('.')}"
        super().__init__(cause, f"Start one with prefect server start and set PREFECT_API_URL{OR_DIRECT}")


class ServerUnreachable(StandbyError):
    def __init__(self, url: str, reason: str) -> None:
        cause = f"The Prefect server at {url} does not respond ({reason})"
        super().__init__(cause, f"Start it or correct PREFECT_API_URL{OR_DIRECT}")


class ServerTooOld(StandbyError):
    def __init__(self, url: str, found: str, needed: str) -> None:
        cause = f"The Prefect server at {url} is of version {found}; Standby needs {needed} or later there"
        super().__init__(cause, f"Upgrade the server{OR_DIRECT}")


class NotAnApi(StandbyError):
    def __init__(self, url: str, reason: str) -> None:
        right = url if url.rstrip("/").endswith("/api") else f"{url.rstrip('/')}/api"
        action = f"Set it to {right} where that is a Prefect server{OR_DIRECT}"
        super().__init__(f"PREFECT_API_URL is {url}, and that is not the API of a Prefect server: {reason}", action)


class ServerRefuses(StandbyError):
    def __init__(self, url: str, status: int) -> None:
        action = f"Correct PREFECT_API_AUTH_STRING or PREFECT_API_KEY{OR_DIRECT}"
        super().__init__(f"The Prefect server at {url} refuses this client (HTTP {status})", action)


class SettingsUnusable(StandbyError):
    def __init__(self, reason: str) -> None:
        home = os.environ.get("PREFECT_HOME", "~/.prefect")
        super().__init__(
            f"Prefect cannot be used with its settings: {reason.removesuffix('.')}",
            f"Correct that in the environment, in {home}/profiles.toml, prefect.toml or .env{OR_DIRECT}",
        )


class ServerDidNotStart(StandbyError):
    def __init__(self, log: str, last_words: str) -> None:
        cause = f"The Prefect server did not start{': ' if last_words else ''}{last_words}"
        super().__init__(cause, f"Correct that, then run it again; {log} says more if it was kept")


class SlotTaken(GuardRefused):
    def __init__(self, name: str, seconds: float) -> None:
        cause = f"Another run has held the concurrency limit {name} for more than {seconds:.0f} s"
        super().__init__(cause, "Find that flow run in the Prefect UI, and cancel it or wait until it ends")
