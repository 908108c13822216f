"""The vault of a sandbox: it reads what is real where it may, and writes nowhere but into its folder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.drill.sandbox import OWN, IsolatedVault
from tests.standby.vault.world import HandClock, Memory

FOLDER = "drills/p/run"

paths = st.sampled_from(
    [
        "recovery/p/fence.json",
        "recovery/p/switch.json",
        "audit/p.jsonl",
        "durations/p.json",
        "drills/p/latest.json",
        "snapshots/p/index.jsonl",
        "objects/p/ab/abcd",
        "ledgers/east-west.jsonl",
    ]
)
contents = st.binary(min_size=1, max_size=3)
deeds = st.one_of(
    st.tuples(st.just("write"), paths, contents),
    st.tuples(st.just("remove"), paths, st.just(b"")),
    st.tuples(st.just("hold"), paths, contents),
    st.tuples(st.just("read"), paths, st.just(b"")),
)


@given(real=st.dictionaries(paths, contents), done=st.lists(deeds, max_size=8))
async def test_whatever_is_done_in_it_the_real_files_stay_as_they_are(
    real: dict[str, bytes], done: list[tuple[str, str, bytes]]
) -> None:
    files = dict(real)
    view = IsolatedVault(Memory(HandClock(), files=files), FOLDER)
    expected = {path: content for path, content in real.items() if not path.startswith(OWN)}
    for deed, path, content in done:
        if deed == "write":
            await view.write(path, content)
            expected[path] = content
        elif deed == "remove":
            await view.remove(path)
            expected.pop(path, None)
        elif deed == "hold":
            async with view.hold(path) as file:
                assert (file.found or None) == expected.get(path)
                await file.write(content)
            expected[path] = content
        assert (await view.read(path) or None) == expected.get(path)

    assert {path: content for path, content in files.items() if not path.startswith(FOLDER)} == real


async def test_the_list_of_snapshots_stays_what_it_was_for_the_whole_drill() -> None:
    files = {"snapshots/p/index.jsonl": b"one"}
    view = IsolatedVault(Memory(files=files), FOLDER)
    assert await view.read("snapshots/p/index.jsonl") == b"one"
    files["snapshots/p/index.jsonl"] = b"one and two"
    assert await view.read("snapshots/p/index.jsonl") == b"one"
    assert view.where("snapshots/p/index.jsonl") == "memory:snapshots/p/index.jsonl"
    assert view.where("audit/p.jsonl") == f"memory:{FOLDER}/audit/p.jsonl"
