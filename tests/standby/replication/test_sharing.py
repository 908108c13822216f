"""Several runs at one resource stay within its limits together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from standby.config.configuration import Configuration
from standby.replication.chunks import Chunk, spread, with_shares

ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/"
NAMES = ("east", "west", "north", "south")


def configuration(copies: int = 10, operations: int = 3000) -> Configuration:
    return Configuration.model_validate(
        {
            "resources": {
                name: {
                    "endpoint": f"https://{name}.services.ai.azure.com",
                    "region": name,
                    "resource_id": f"{ID}{name}",
                    "credentials": {"kind": "key", "key": "k"},
                    "max_concurrent_copies": copies,
                    "operations_per_minute": operations,
                }
                for name in NAMES
            },
            "plans": {"p": {"pairs": [{"source": "east", "targets": ["west"]}]}},
        }
    )


def chunks(*pairs: tuple[str, str]) -> list[Chunk]:
    return [Chunk(source, target, (f"a{number}",)) for number, (source, target) in enumerate(pairs)]


def test_two_targets_have_half_of_the_chunks_each_and_the_source_has_all() -> None:
    made = chunks(*[("east", "west"), ("east", "north")] * 6)
    sharing = spread(made, 4, configuration())
    assert sharing.at_target == {"west": 2, "north": 2}
    assert sharing.shares(made[0]) == {"east": 4, "west": 2}
    shared = with_shares(configuration(), sharing.shares(made[0])).resources
    assert (shared["west"].max_concurrent_copies, shared["west"].operations_per_minute) == (5, 1500)
    assert shared["east"].operations_per_minute == 750
    assert shared["north"] == configuration().resources["north"]


def test_a_target_that_takes_one_copy_at_a_time_has_one_chunk_at_a_time() -> None:
    sharing = spread(chunks(*[("east", "west")] * 3), 4, configuration(copies=1))
    assert sharing.at_target == {"west": 1}


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] != pair[1]),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 6),
    st.integers(1, 12),
    st.integers(20, 3000),
)
def test_whatever_runs_at_once_stays_within_every_limit(
    pairs: list[tuple[str, str]], at_once: int, copies: int, operations: int
) -> None:
    plain = configuration(copies, operations)
    made = chunks(*pairs)
    sharing = spread(made, at_once, plain)
    # The busiest moment there can be: as many chunks as the two bounds let in, in any order.
    for order in (made, made[::-1], sorted(made, key=lambda chunk: chunk.source)):
        running: list[Chunk] = []
        for chunk in order:
            there = sum(other.target == chunk.target for other in running)
            if len(running) < at_once and there < sharing.at_target[chunk.target]:
                running.append(chunk)
        for name in NAMES:
            shares = [with_shares(plain, sharing.shares(chunk)).resources[name] for chunk in running]
            busy = [share for share, chunk in zip(shares, running, strict=True) if name in (chunk.source, chunk.target)]
            into = [share for share, chunk in zip(shares, running, strict=True) if name == chunk.target]
            assert sum(share.max_concurrent_copies for share in into) <= copies
            assert sum(share.operations_per_minute for share in busy) <= operations
