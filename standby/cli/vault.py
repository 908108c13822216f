"""`standby vault move`: the vault goes to another place."""

import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from standby.cli.options import with_home
from standby.cli.output import Line, Output
from standby.cli.run import Exit
from standby.clock import SystemClock
from standby.config.errors import summary
from standby.config.vault import Place, VaultSettings
from standby.text import counted, this_user
from standby.vault.errors import NoSecond
from standby.vault.role import Move, Moved, read_role
from standby.vault.vault import open_place

PROGRESS_EVERY = 5.0  # Seconds between two lines about how far a move is


def _place(settings: VaultSettings, text: str, endpoint: str) -> Place:
    if text == "vault":
        return settings
    if text == "second":
        if settings.second is None:
            raise NoSecond
        return settings.second
    if "://" not in text:
        return Place(path=with_home(Path(text)).absolute())
    scheme = text.partition(":")[0]
    known = [place for place in (settings, settings.second) if place is not None and place.scheme == scheme]
    like = next((place for place in known if endpoint in ("", place.endpoint)), known[0] if known else Place())
    try:
        return Place(url=text, endpoint=endpoint or like.endpoint, credentials=like.credentials)
    except ValidationError as error:
        raise typer.BadParameter(summary(error), param_hint=text) from None


def _is(place: Place, other: Place | None) -> bool:
    def whereabouts(of: Place) -> tuple[str, ...]:
        return (os.path.realpath(of.folder),) if of.folder is not None else ((of.url or "").rstrip("/"), of.endpoint)

    return other is not None and whereabouts(place) == whereabouts(other)


def _next_action(settings: VaultSettings, moved: Moved, place: Place) -> str:
    if _is(place, settings) or _is(place, settings.second):
        return "standby.yaml names it already; check it with standby audit verify"
    key = "vault" if moved.becomes == "vault" else "vault.second"
    value = f"path: {place.path}" if place.url is None else f"url: {place.url}"
    more = f", endpoint: {place.endpoint} and its credentials" if place.endpoint else ""
    return (
        f"Before anything else runs, write {value}{more} under {key} in standby.yaml, and run standby bootstrap if "
        f"flows use it; keep {moved.source} until standby audit verify says that the copy is complete"
    )


def _shown(output: Output) -> Callable[[int, int], None]:
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_EVERY:
            last = time.monotonic()
            output.say(f"{done} of {counted(total, 'file')}")

    return show


async def command(
    context: typer.Context,
    _asked: Annotated[Literal["move"], typer.Argument(metavar="move", help="Copy a vault.")],
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="vault, second, a folder, or a URL such as az://container/folder.")
    ],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same; it must be empty, or an earlier copy.")],
    endpoint: Annotated[
        str,
        typer.Option("--endpoint", metavar="URL", help="Endpoint of the storage account, if standby.yaml has another."),
    ] = "",
) -> Exit:
    """Copy the vault to another place, every file compared afterwards. FROM stays as it is.

    An interrupted copy is continued by the same command. Pause the schedules meanwhile: a vault that runs write to
    is not copied. URLs are opened with the endpoint and credentials that the configuration has for such a place.

    Exit status: 0 everything is there, 1 it could not be read or written, 4 refused: TO holds other records, or runs
    use FROM.
    """
    output: Output = context.obj
    settings = output.load().vault
    places = [_place(settings, text, endpoint) for text in (source, target)]
    if _is(places[0], places[1]):
        raise typer.BadParameter("it is the same place as FROM", param_hint="TO")
    async with AsyncExitStack() as stack:
        here, there = [await stack.enter_async_context(open_place(place)) for place in places]
        is_replica = _is(places[1], settings.second)
        if not is_replica and not _is(places[1], settings):
            own = await read_role(here)
            is_replica = own is not None and own.kind == "replica"
        becomes: Literal["vault", "replica"] = "replica" if is_replica else "vault"
        moved = await Move(here, there, becomes, SystemClock(), this_user()).run(_shown(output))
    next_action = _next_action(settings, moved, places[1])
    output.result(
        f"{moved.target} has everything that {moved.source} has: {counted(moved.copied, 'file')} copied, "
        f"{moved.equal} there already, {moved.size} bytes in all."
    )
    output.result(Line(f"{next_action}.", 2, "→"))
    output.document({**moved.model_dump(mode="json"), "next_action": next_action})
    return Exit.DONE
