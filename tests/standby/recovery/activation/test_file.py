"""The file that applications read: never half written, never set back, shared by plans."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.activation import file as file_sink
from standby.recovery.activation.file import FileActivation
from standby.recovery.activation.sinks import (
    Activation,
    ActiveEndpoint,
    ActiveMaps,
    SinkAhead,
    SinkFailed,
)

AT = datetime(2026, 1, 31, 3, 12, tzinfo=UTC)


def endpoint(resource: str) -> ActiveEndpoint:
    return ActiveEndpoint(
        resource=resource,
        endpoint=f"https://{resource}.services.ai.azure.com",
        region=f"{resource}us",
        resource_id=f"/subscriptions/s/accounts/{resource}",
        api_version="2025-11-01",
        analyzers={"invoice": "invoice"},
    )


def activation(epoch: int, side: str | None, *, plan: str = "p") -> Activation:
    told = None if side is None else endpoint(side)
    return Activation(plan=plan, epoch=epoch, changed_at=AT, run_id="r", sources={"east": told})


async def test_what_is_told_is_what_is_read(tmp_path: Path) -> None:
    sink = FileActivation(tmp_path / "deep" / "active.json")
    await sink.publish(activation(1, "west"))
    assert await sink.read("p") == activation(1, "west")
    assert await sink.read("another") is None


async def test_telling_the_same_again_leaves_the_file_alone(tmp_path: Path) -> None:
    sink = FileActivation(tmp_path / "active.json")
    await sink.publish(activation(1, "west"))
    before = sink.path.stat()
    await sink.publish(activation(1, "west"))
    assert (sink.path.stat().st_ino, sink.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize(("mode", "folder"), [(None, 0o755), (0o640, 0o755), (0o664, 0o755), (0o600, 0o700)])
async def test_the_file_has_its_mode_and_can_be_reached_whatever_the_umask(
    tmp_path: Path, mode: int | None, folder: int
) -> None:
    file = tmp_path / "deep" / "active.json"
    sink = FileActivation(file) if mode is None else FileActivation(file, mode)
    before = os.umask(0o027)
    try:
        await sink.publish(activation(1, "west"))
    finally:
        os.umask(before)
    assert modes(tmp_path) == {
        "deep": folder,
        "deep/active.json": 0o644 if mode is None else mode,
        "deep/active.json.lock": 0o600,
    }


async def test_another_mode_is_given_to_the_file_when_it_is_published_again(tmp_path: Path) -> None:
    path = tmp_path / "active.json"
    await FileActivation(path, 0o644).publish(activation(1, "west"))
    await FileActivation(path, 0o640).publish(activation(1, "west"))
    assert modes(tmp_path)["active.json"] == 0o640
    assert await FileActivation(path).read("p") == activation(1, "west")


async def test_a_lower_epoch_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    sink = FileActivation(tmp_path / "active.json")
    await sink.publish(activation(3, "west"))
    with pytest.raises(SinkAhead, match="already has epoch 3, and this run has epoch 2"):
        await sink.publish(activation(2, "east"))
    assert await sink.read("p") == activation(3, "west")


async def test_another_side_under_the_same_epoch_is_of_another_vault_and_refused(tmp_path: Path) -> None:
    sink = FileActivation(tmp_path / "active.json")
    await sink.publish(activation(3, None))
    await sink.publish(activation(3, "west"))
    for side in ("north", None):
        with pytest.raises(SinkAhead):
            await sink.publish(activation(3, side))
    assert await sink.read("p") == activation(3, "west")


@pytest.mark.parametrize("content", ["", "{", '{"plans": {"p": 7}}', "[]", "\xff"])
async def test_what_is_no_map_is_not_overwritten(tmp_path: Path, content: str) -> None:
    sink = FileActivation(tmp_path / "active.json")
    sink.path.write_text(content, encoding="latin-1")
    with pytest.raises(SinkFailed, match=r"not overwritten.* Move the file aside"):
        await sink.publish(activation(1, "west"))
    with pytest.raises(SinkFailed):
        await sink.read("p")
    assert sink.path.read_text(encoding="latin-1") == content


@pytest.mark.parametrize("theirs", [7, None, [], {"epoch": "many"}, {"plan": "other", "epoch": -1}])
async def test_what_stands_in_the_place_of_another_plans_map_stays_and_costs_no_other(
    tmp_path: Path, theirs: object
) -> None:
    sink = FileActivation(tmp_path / "active.json")
    sink.path.write_text(json.dumps({"format": 1, "plans": {"other": theirs}}))
    await sink.publish(activation(1, "west"))
    assert await sink.read("p") == activation(1, "west")
    assert json.loads(sink.path.read_text())["plans"]["other"] == theirs
    with pytest.raises(SinkFailed, match="not overwritten"):
        await sink.read("other")


async def test_a_place_that_cannot_be_written_is_told_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, and no folder")
    with pytest.raises(SinkFailed, match=r"published to file .*taken/active.json: .*(Not a directory|File exists)"):
        await FileActivation(tmp_path / "taken" / "active.json").publish(activation(1, "west"))


async def test_plans_that_write_at_once_do_not_lose_each_others_maps(tmp_path: Path) -> None:
    path = tmp_path / "active.json"
    plans = [f"plan-{number}" for number in range(8)]
    await asyncio.gather(*(FileActivation(path).publish(activation(1, "west", plan=plan)) for plan in plans))
    assert sorted(ActiveMaps.model_validate_json(path.read_bytes()).plans) == plans


async def test_a_writer_that_holds_the_file_for_too_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_sink, "PATIENCE", 0.1)
    sink = FileActivation(tmp_path / "active.json")
    with (tmp_path / "active.json.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SinkFailed, match="another run locked it"):
            await sink.publish(activation(1, "west"))
    await sink.publish(activation(1, "west"))


async def test_behind_a_link_the_file_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "active.json").symlink_to(tmp_path / "data" / "map.json")
    await FileActivation(tmp_path / "active.json").publish(activation(1, "west"))
    assert (tmp_path / "active.json").is_symlink()
    assert json.loads((tmp_path / "data" / "map.json").read_text())["plans"]["p"]["epoch"] == 1


@pytest.mark.parametrize("path", ["loop", "loop/active.json", "a" * 300])
async def test_a_path_that_cannot_be_followed_is_told_as_the_sink_s(tmp_path: Path, path: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    sink = FileActivation(tmp_path / path)
    for work in (sink.publish(activation(1, "west")), sink.read("p")):
        with pytest.raises(SinkFailed, match=f"file {tmp_path / path}"):
            await work


async def test_a_publication_that_is_cancelled_is_over_when_the_cancellation_is(tmp_path: Path) -> None:
    sink = FileActivation(tmp_path / "active.json")
    task = asyncio.create_task(sink.publish(activation(1, "west")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Nothing is left to its thread that could come after what is told next.
    await sink.publish(activation(2, "east"))
    assert await sink.read("p") == activation(2, "east")


@given(told=st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, "east", "west"])), max_size=12))
def test_whatever_comes_in_whatever_order_the_epoch_never_falls(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, str | None]]
) -> None:
    sink = FileActivation(tmp_path_factory.mktemp("sink") / "active.json")

    async def tell_all() -> None:
        highest, side = 0, None
        for epoch, named in told:
            try:
                await sink.publish(activation(epoch, named))
            except SinkAhead:
                assert epoch < highest or (epoch == highest and side is not None and named != side)
            else:
                highest, side = epoch, named
            found = await sink.read("p")
            assert (found.epoch if found else 0) == highest

    asyncio.run(tell_all())
