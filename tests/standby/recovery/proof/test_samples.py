"""Samples are the documents in an analyzer's folder, on this machine or in the vault, and nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import SampleBudget
from standby.document import digest_of
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.proof.records import Key, Proof, Proofs, Verdict, month_of
from standby.recovery.proof.samples import (
    Cost,
    OverBudget,
    SampleChanged,
    SamplesUnreadable,
    list_samples,
    read_sample,
    sampled,
    share,
    tally,
)
from standby.vault.errors import VaultClosed
from standby.vault.folder import LocalFolder
from standby.vault.storage import Listed
from tests.conftest import SceneMaker

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Opener = Callable[..., Awaitable[RecoveryContext]]


@pytest.fixture
async def opened(make_scene: SceneMaker) -> AsyncIterator[Opener]:
    """Open the plan of a scene with these settings of its samples."""
    async with AsyncExitStack() as stack:

        async def opener(**given: Any) -> RecoveryContext:
            scene = await stack.enter_async_context(make_scene([], samples=given))
            return await stack.enter_async_context(open_recovery(scene.configuration, "p"))

        yield opener


def pdf(pages: int, text: str = "") -> bytes:
    return b"%PDF-1.7 /Type /Pages " + b"/Type /Page " * pages + text.encode()


def put(root: Path, *paths: str, content: bytes | None = None) -> None:
    for path in paths:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(pdf(1, path) if content is None else content)


async def names(context: RecoveryContext, *analyzers: str, each: int | None = None) -> dict[str, list[str]]:
    found = await list_samples(context, analyzers, each)
    return {analyzer: [sample.name for sample in of] for analyzer, of in found.items()}


async def test_the_first_documents_by_name_of_each_analyzer_are_its_samples(opened: Opener, tmp_path: Path) -> None:
    put(tmp_path, "invoice/b.pdf", "invoice/a.PNG", "invoice/c.pdf", "receipt/x.docx", "other/y.pdf")
    context = await opened(path=str(tmp_path), each=2)

    assert await names(context, "invoice", "receipt", "none") == {"invoice": ["a.PNG", "b.pdf"], "receipt": ["x.docx"]}
    assert await names(context, "invoice", each=3) == {"invoice": ["a.PNG", "b.pdf", "c.pdf"]}
    assert await sampled(context) == {"invoice", "receipt", "other"}


async def test_without_a_path_they_lie_in_the_vault(opened: Opener) -> None:
    context = await opened()
    await context.vault.write("samples/p/invoice/a.pdf", pdf(2))
    await context.vault.write("samples/other/invoice/b.pdf", pdf(1))

    found = await list_samples(context, ["invoice"])

    assert [sample.name for sample in found["invoice"]] == ["a.pdf"]
    assert await read_sample(context, found["invoice"][0]) == pdf(2)
    assert await sampled(context) == {"invoice"}


async def test_a_plan_without_samples_has_none(make_scene: SceneMaker) -> None:
    async with make_scene([]) as scene, open_recovery(scene.configuration, "p") as context:
        assert await sampled(context) == frozenset()
        assert await list_samples(context, ["invoice"]) == {}


async def test_type_digest_and_pages_are_known_before_anything_is_analysed(opened: Opener, tmp_path: Path) -> None:
    put(tmp_path, "invoice/a.pdf", content=pdf(3))
    put(tmp_path, "invoice/b.txt", content=b"x" * 6001)
    put(tmp_path, "invoice/c.jpeg", content=b"image")
    context = await opened(path=str(tmp_path))

    found = await list_samples(context, ["invoice"])

    assert [(it.media_type, it.pages) for it in found["invoice"]] == [
        ("application/pdf", 3),
        ("text/plain", 3),
        ("image/jpeg", 1),
    ]
    assert found["invoice"][0].digest == digest_of(pdf(3))
    assert tally(found) == (3, 7)


async def test_what_is_no_document_is_left_out_by_name_with_the_reason(opened: Opener, tmp_path: Path) -> None:
    put(tmp_path, "invoice/good.pdf", "invoice/notes.exe", "invoice/.hidden.pdf", "invoice/inner/deep.pdf", "top.pdf")
    put(tmp_path, "invoice/empty.pdf", content=b"")
    put(tmp_path, "invoice/long.pdf", content=pdf(301))
    put(tmp_path, "invoice/same.pdf", content=pdf(1, "invoice/good.pdf"))
    put(tmp_path, "invoice/large.txt", content=b"x" * 1_000_001)
    context = await opened(path=str(tmp_path), each=9)

    found = await list_samples(context, ["invoice"])

    assert {sample.name for sample in found["invoice"]} == {"good.pdf"}
    said = {Path(each.partition(" is left out: ")[0]).name: each for each in found.skipped}
    assert said.keys() == {"notes.exe", "empty.pdf", "long.pdf", "same.pdf", "large.txt"}
    assert "301 pages" in said["long.pdf"]
    assert "the content of good.pdf" in said["same.pdf"]


async def test_no_link_leads_out_of_the_folder(opened: Opener, tmp_path: Path) -> None:
    root = tmp_path / "samples"
    put(tmp_path, "outside/secret.pdf")
    put(root, "invoice/good.pdf")
    (root / "invoice/link.pdf").symlink_to(tmp_path / "outside/secret.pdf")
    (root / "receipt").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "invoice/pipe.pdf")
    context = await opened(path=str(root))

    found = await list_samples(context, ["invoice", "receipt", "..", "."])

    assert [sample.name for sample in found["invoice"]] == ["good.pdf"]
    assert "receipt" not in found
    assert [each.partition(" is ")[2] for each in sorted(found.skipped)] == [
        "left out: its name has one of : \\ # ? in it, or it is a link that leads away.",
        "left out: it is empty.",
        "a link, and none is followed.",
    ]


async def test_a_folder_or_a_file_that_cannot_be_read_costs_itself_only(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "invoice/a.pdf", "receipt/b.pdf", "receipt#old/c.pdf", "contract/d\n\x1b[31m.pdf")
    (tmp_path / "invoice/loop.pdf").symlink_to("loop.pdf")
    read = LocalFolder.list

    async def refused(folder: LocalFolder, prefix: str = "") -> tuple[Listed, ...]:
        if prefix == "receipt/":
            raise VaultClosed(folder.where(prefix), "listed", "Permission denied")
        return await read(folder, prefix)

    monkeypatch.setattr(LocalFolder, "list", refused)
    context = await opened(path=str(tmp_path))

    found = await list_samples(context, ["invoice", "receipt", "contract"])

    assert [sample.name for of in found.values() for sample in of] == ["d  [31m.pdf", "a.pdf"]
    assert await read_sample(context, found["contract"][0])
    assert found.skipped == (f"{tmp_path}/receipt could not be listed: Permission denied.",)
    assert await sampled(context) == {"invoice", "contract"}


async def test_many_files_that_are_no_documents_are_named_in_one_sentence(opened: Opener, tmp_path: Path) -> None:
    put(tmp_path, "invoice/a.pdf", *(f"invoice/a.pdf.{number}.labels.json" for number in range(50)))
    context = await opened(path=str(tmp_path))

    (said,) = (await list_samples(context, ["invoice"])).skipped

    assert said.startswith(f"{tmp_path}/invoice/a.pdf.0.labels.json and 49 more are left out: of all files only pdf, ")


async def test_a_folder_that_is_not_there_is_an_error_and_not_empty(opened: Opener, tmp_path: Path) -> None:
    context = await opened(path=str(tmp_path / "gone"))

    for asked in (sampled(context), list_samples(context, ["invoice"])):
        with pytest.raises(SamplesUnreadable, match=r"gone.* is no folder"):
            await asked


async def test_a_document_that_changed_since_it_was_listed_is_not_sent(opened: Opener, tmp_path: Path) -> None:
    put(tmp_path, "invoice/a.pdf")
    context = await opened(path=str(tmp_path))
    sample = (await list_samples(context, ["invoice"]))["invoice"][0]

    put(tmp_path, "invoice/a.pdf", content=pdf(2))
    with pytest.raises(SampleChanged, match=r"a\.pdf"):
        await read_sample(context, sample)
    (tmp_path / "invoice/a.pdf").unlink()
    with pytest.raises(SampleChanged):
        await read_sample(context, sample)


@st.composite
def many_copies(draw: st.DrawFn) -> list[Cost]:
    """Of one to eight analyzers at one to three targets."""
    targets = draw(st.integers(1, 3))
    costs = []
    for number in range(draw(st.integers(1, 8))):
        samples, runs = draw(st.integers(0, 8)), draw(st.sampled_from([0, 2]))
        costs += [Cost(("east", f"west-{at}", f"a{number}"), samples, runs) for at in range(targets)]
    return costs


def takes(costs: Iterable[Cost]) -> int:
    chosen = list(costs)
    return sum(it.samples for it in chosen) + sum({it.subject: it.samples * it.runs for it in chosen}.values())


def compared(known: Proofs, chosen: Iterable[Cost], verdict: Callable[[], Verdict], now: datetime) -> Proofs:
    kept = {it.key: it for it in known.proofs}
    for cost in chosen:
        about = dict(zip(("source", "target", "analyzer"), cost.key, strict=True))
        proof = Proof(**about, target_analyzer="a", verdict=verdict(), samples=1, compared_at=now)
        kept[cost.key] = kept[cost.key].with_later(proof) if cost.key in kept else proof
    month = month_of(now)
    spent = {**known.spent, month: known.spent.get(month, 0) + takes(chosen)}
    return Proofs(proofs=tuple(kept.values()), spent=spent)


@given(many_copies(), st.integers(1, 60), st.integers(1, 120), st.data())
def test_every_copy_gets_its_turn_and_no_run_or_month_exceeds_its_budget(
    costs: list[Cost], run: int, month: int, data: st.DataObject
) -> None:
    budget, known, seen = SampleBudget(run=run, month=month), Proofs(), set[Key]()
    fits = {it.key for it in costs if it.alone <= min(run, month)}
    for week in range(5 * len(costs) + 5):
        now = NOW + timedelta(weeks=week)
        try:
            found = share("p", known, costs, budget, now)
        except OverBudget as error:
            # There is nothing that fits now.
            left = min(run, known.left(now, month))
            assert all(it.alone > left for it in costs if it.samples)
            assert "samples.budget" in error.next_action
            continue
        chosen = [it for it in costs if it.key in found.chosen]
        assert takes(chosen) <= min(run, known.left(now, month))
        assert {it.key for it in found.waiting} == {it.key for it in costs} - found.chosen
        assert {it.key for it in found.waiting if "samples.budget" in it.comes} == {it.key for it in costs} - fits
        known = compared(known, chosen, lambda: data.draw(st.sampled_from(Verdict)), now)
        seen |= found.chosen
    if any(it.samples for it in costs if it.key in fits):
        assert seen == fits


@given(many_copies(), st.integers(30, 60))
def test_what_waits_comes_when_it_was_said_and_the_budget_that_is_named_takes_all(costs: list[Cost], run: int) -> None:
    budget, known = SampleBudget(run=run, month=10_000), Proofs()
    if not any(it.samples for it in costs):
        return
    first = share("p", known, costs, budget, NOW)
    runs = [first.chosen]
    for number in range(1, first.runs):
        now = NOW + timedelta(minutes=number)
        chosen = [it for it in costs if it.key in runs[-1]]
        known = compared(known, chosen, lambda: Verdict.AGREES, now)
        runs.append(share("p", known, costs, budget, now).chosen)
    assert frozenset[Key]().union(*runs) == {it.key for it in costs}
    for each in first.waiting:
        number = 1 if each.comes == "the next run" else int(each.comes.split()[-2])
        assert each.key in runs[number]
    if first.one_run is not None:
        whole = share("p", Proofs(), costs, first.one_run, NOW)
        assert (whole.waiting, whole.runs, takes(costs)) == ((), 1, first.whole)
