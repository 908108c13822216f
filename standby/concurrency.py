"""Several things at once, none of them left behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


@asynccontextmanager
async def side_by_side() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first error is raised as itself: one cause reads better than a group of one."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do several things at once; give their results in that order."""
    async with side_by_side() as group:
        tasks = [group.create_task(work) for work in works]
    return [task.result() for task in tasks]


async def do_for_each(items: Iterable[Item], work: Callable[[Item], Awaitable[T]], most: int) -> list[T]:
    """Do the same work for several items, at most so many at a time; give the results in the items' order."""
    gate = asyncio.Semaphore(most)

    async def do(item: Item) -> T:
        async with gate:
            return await work(item)

    return await all_of(do(item) for item in items)


async def to_its_end(work: Awaitable[T]) -> T:
    """Await something that must not be left half done; a cancellation meanwhile counts when it is over."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Nobody sees how it ended any more.
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()


async def despite_cancellation(work: Awaitable[T]) -> T:
    """Await something short whose result is worth more than a cancellation meanwhile, which is dropped."""
    task = asyncio.ensure_future(work)
    with suppress(asyncio.CancelledError):
        await to_its_end(task)
    return task.result()
