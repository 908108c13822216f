"""A plan that was signed off is done exactly as it says, or not at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from standby.config.vault import Ed25519Signing
from standby.document import digest_of_json
from standby.errors import FileUnwritable
from standby.replication.errors import PlanMoved, PlanNotTrusted, PlanUnreadable
from standby.replication.fingerprint import fingerprint
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.report import plan_document
from standby.replication.saved_plan import MOST_NAMED, SavedPlan, load_plan, refuse_if_moved, save_plan
from standby.replication.verdict import Action, Verdict
from standby.vault.errors import NewerFormat
from standby.vault.signing import CannotSign, HmacSigner, Signer, signer_for
from tests.standby.replication.world import START, plan_item, recovery_plan, sighting

ITEM = plan_item("a", "b", found=sighting("old"), verdict=Verdict.SOURCE_AHEAD, action=Action.REPLACE)
CHILD = plan_item("b")


def plan(*items: PlanItem, added: Mapping[str, Mapping[str, str]] | None = None) -> ReplicationPlan:
    return ReplicationPlan(recovery_plan(), START, items, added or {})


def saved(
    path: Path, made: ReplicationPlan, selection: Selection | None = None, signer: Signer | None = None
) -> SavedPlan:
    save_plan(path, made, selection or Selection(), signer)
    return load_plan(path, "invoices", signer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plan.json"


def test_a_plan_comes_back_with_all_it_was_decided_from(path: Path) -> None:
    selection = Selection(("a", "b*"), ("west",), "replace")
    loaded = saved(path, plan(ITEM, CHILD, added={"west": {"gpt-4.1": "gpt"}}), selection)
    assert loaded.selection == selection
    assert loaded.made_at == START
    assert loaded.added_defaults == {"west": {"gpt-4.1": "gpt"}}
    first, second = loaded.items
    assert (first.key, first.verdict, first.action) == (ITEM.key, Verdict.SOURCE_AHEAD, Action.REPLACE)
    assert (first.expected, first.found, first.needs) == (ITEM.expected, ITEM.found, ("b",))
    assert second.found is None


def test_a_file_has_all_that_was_shown(path: Path) -> None:
    item = replace(ITEM, models=(("completion", "gpt-4.1"),), differences=("$.description",), warnings=("Mind this.",))
    save_plan(path, plan(item), Selection())
    held = json.loads(path.read_text(encoding="utf-8"))
    shown = plan_document(plan(item))["items"]
    assert isinstance(shown, list)
    assert isinstance(shown[0], dict)
    assert shown[0].items() <= held["items"][0].items()
    assert held["items"][0]["models"] == [["completion", "gpt-4.1"]]
    assert held["items"][0]["differences"] == ["$.description"]


def test_a_file_with_the_fingerprints_of_an_earlier_version_holds_where_nothing_was_edited(path: Path) -> None:
    now, edited = (fingerprint({"baseAnalyzerId": "mine", "processingLocation": "geography", "mode": m}) for m in "ab")
    then = now.split(":")[-1]
    approved = saved(path, plan(replace(ITEM, expected=sighting(then), found=sighting(then))))
    present = replace(ITEM, expected=sighting(now), found=sighting(now))
    refuse_if_moved(approved, plan(present))
    with pytest.raises(PlanMoved, match="edited at the source"):
        refuse_if_moved(approved, plan(replace(present, expected=sighting(edited))))
    for found in (sighting(edited), sighting(now, status="failed"), None):
        with pytest.raises(PlanMoved, match="changed at the target"):
            refuse_if_moved(approved, plan(replace(present, found=found)))


def test_a_file_of_the_first_format_is_read_and_holds_for_what_it_has(path: Path) -> None:
    path.write_bytes((Path(__file__).parent / "saved_plan_format_1.json").read_bytes())
    loaded = load_plan(path, "invoices")
    assert loaded.selection == Selection(("a", "b*"), ("west",), "replace", ("a",))
    made = plan(ITEM, CHILD, added={"west": {"gpt-4.1": "gpt"}})
    with_more = [replace(item, models=(("completion", "gpt-4.1"),), warnings=("Mind this.",)) for item in made.items]
    refuse_if_moved(loaded, replace(made, items=tuple(with_more)))
    with pytest.raises(PlanMoved, match="would be refuse now"):
        refuse_if_moved(loaded, plan(replace(ITEM, action=Action.REFUSE), CHILD, added=made.added_defaults))
    with pytest.raises(PlanNotTrusted, match=r"has no signature, though vault\.signing has a key"):
        load_plan(path, "invoices", HMAC)


def test_a_policy_that_was_not_asked_for_is_saved_as_the_plans_of_that_day(path: Path) -> None:
    made = replace(plan(CHILD), recovery_plan=recovery_plan(on_existing="version"))
    assert saved(path, made).selection.on_existing == "version"


def test_the_same_world_is_not_refused(path: Path) -> None:
    made = plan(ITEM, CHILD, added={"west": {"gpt-4.1": "gpt"}})
    refuse_if_moved(saved(path, made), replace(made, made_at=START.replace(year=2027)))


def moved(path: Path, then: ReplicationPlan, now: ReplicationPlan) -> list[str]:
    with pytest.raises(PlanMoved, match="Make a new plan") as caught:
        refuse_if_moved(saved(path, then), now)
    assert "2026-01-02 03:04:05 UTC" in str(caught.value)
    assert all(change in str(caught.value) for change in caught.value.moved)
    return list(caught.value.moved)


def source(**fields: Any) -> Callable[[PlanItem], PlanItem]:
    return lambda item: replace(item, expected=replace(item.expected, **fields))


def target(**fields: Any) -> Callable[[PlanItem], PlanItem]:
    return lambda item: replace(item, found=sighting("old", **fields))


LATER = START.replace(year=2027)
CHANGES = {
    "was edited at the source": source(fingerprint="new"),
    "was deleted and created again at the source": source(created_at=LATER, changed_at=LATER),
    "was changed at the source, with the same definition": source(changed_at=LATER),
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_source_that_moved_is_named(path: Path, words: str) -> None:
    assert moved(path, plan(ITEM, CHILD), plan(CHANGES[words](ITEM), CHILD)) == [f"a (east → west) {words}"]


@pytest.mark.parametrize(
    "change",
    [
        target(created_at=LATER),
        target(changed_at=LATER),
        target(status="failed"),
        lambda item: replace(item, found=sighting("edited")),
        lambda item: replace(item, found=None),
    ],
    ids=["made again", "touched", "failed", "edited", "gone"],
)
def test_a_target_that_moved_is_named(path: Path, change: Callable[[PlanItem], PlanItem]) -> None:
    told = moved(path, plan(ITEM, CHILD), plan(change(ITEM), CHILD))
    assert told == ["a (east → west) changed at the target"]


def test_analyzers_that_came_and_went_are_named(path: Path) -> None:
    assert moved(path, plan(ITEM), plan(CHILD)) == ["a (east → west) is gone", "b (east → west) is new"]


@pytest.mark.parametrize(
    "other",
    [
        replace(ITEM, action=Action.REFUSE, reason="Its child c is blocked."),
        replace(ITEM, target_analyzer="a_v2"),
        replace(ITEM, needs=("b", "c")),
    ],
    ids=["action", "name", "children"],
)
def test_another_deed_from_the_same_two_analyzers_is_named_with_its_reason(path: Path, other: PlanItem) -> None:
    (told,) = moved(path, plan(ITEM, CHILD), plan(other, CHILD))
    assert told == f"a (east → west) would be {other.action} now, not replace: {other.reason}"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(ITEM, verdict=Verdict.FOREIGN), "is foreign now, not source ahead: "),
        (replace(ITEM, reason="Another one."), "has another reason now: Another one."),
        (replace(ITEM, models=(("completion", "gpt-5"),)), "uses other models now"),
        (replace(ITEM, differences=("$.description",)), "differs from its source in other places now"),
        (replace(ITEM, warnings=("Mind this.",)), "has a warning that was not shown: Mind this."),
    ],
    ids=["verdict", "reason", "models", "differences", "warning"],
)
def test_what_was_shown_otherwise_is_named_even_if_the_same_is_done(path: Path, other: PlanItem, words: str) -> None:
    (told,) = moved(path, plan(ITEM, CHILD), plan(other, CHILD))
    assert told.startswith(f"a (east → west) {words}")


def test_a_warning_that_is_over_is_no_change(path: Path) -> None:
    refuse_if_moved(saved(path, plan(replace(ITEM, warnings=("Mind this.",)))), plan(ITEM))


@pytest.mark.parametrize("now", [{}, {"west": {"gpt-4.1": "other"}}, {"north": {"gpt-4.1": "gpt"}}])
def test_other_defaults_to_add_are_named_by_target(path: Path, now: dict[str, dict[str, str]]) -> None:
    told = moved(path, plan(CHILD, added={"west": {"gpt-4.1": "gpt"}}), plan(CHILD, added=now))
    assert "other defaults would be added at west now" in told
    assert len(told) == len(now.keys() | {"west"})


def test_of_many_changes_some_are_named_and_the_rest_is_counted(path: Path) -> None:
    many = [plan_item(f"n{number:03}") for number in range(MOST_NAMED + 5)]
    told = moved(path, plan(), plan(*many))
    assert len(told) == MOST_NAMED + 1
    assert told[-1] == "and 5 more"


# Files.


def test_a_missing_file_is_unreadable(path: Path) -> None:
    with pytest.raises(PlanUnreadable, match=r"cannot be read: No such file.*standby plan PLAN --out FILE"):
        load_plan(path, "invoices")


def test_a_plan_of_another_name_is_refused(path: Path) -> None:
    save_plan(path, plan(CHILD), Selection())
    with pytest.raises(PlanUnreadable, match="is a plan of invoices, not of receipts"):
        load_plan(path, "receipts")


def edited(**fields: Any) -> Callable[[str], bytes]:
    return lambda text: json.dumps({**json.loads(text), **fields}).encode()


def with_item(text: str) -> bytes:
    saved_now = json.loads(text)
    return json.dumps({**saved_now, "items": [{**saved_now["items"][0], "surprise": 1}]}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        with_item,
        lambda text: text[: len(text) // 2].encode(),
        lambda _: b"",
        lambda _: b"\xff\xfe\x00",
        lambda _: b"[]",
        edited(format="x"),
        edited(surprise=1),
        edited(seal={"key_id": "k"}),
        edited(made_at=2**60),
        lambda text: text.replace('"invoices"', '"\\ud800"').encode(),
        lambda _: b"[" * 100_000,
        lambda text: text.replace('"invoices"', "[" * 700 + "]" * 700).encode(),
        edited(items=[{"source": "east"}]),
        edited(on_existing="destroy"),
    ],
    ids=[
        *("item", "half", "empty", "binary", "list", "format", "more", "seal", "number", "surrogate", "deep", "deeper"),
        *("less", "policy"),
    ],
)
def test_a_damaged_file_is_unreadable_and_nothing_of_it_is_used(path: Path, damage: Callable[[str], bytes]) -> None:
    save_plan(path, plan(ITEM), Selection())
    path.write_bytes(damage(path.read_text(encoding="utf-8")))
    with pytest.raises(PlanUnreadable, match="is not a saved plan of this version"):
        load_plan(path, "invoices")


def test_a_file_of_a_newer_version_is_refused_and_says_so(path: Path) -> None:
    save_plan(path, plan(ITEM), Selection())
    path.write_bytes(edited(format=3, surprise=1)(path.read_text(encoding="utf-8")))
    with pytest.raises(NewerFormat, match="a newer version of Standby, in format 3; this one reads up to 2"):
        load_plan(path, "invoices")


# Edited files.

HMAC = HmacSigner(b"a shared secret of many letters")
PUBLIC = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
ED25519 = signer_for(Ed25519Signing(private_key=SecretStr(base64.b64encode(bytes(range(32))).decode())))
each_signer = pytest.mark.parametrize("signer", [HMAC, ED25519], ids=["hmac", "ed25519"])

SHOWN = plan(
    replace(ITEM, models=(("completion", "gpt-4.1"),), differences=("$.description",), warnings=("Mind this.",)),
    CHILD,
    added={"west": {"gpt-4.1": "gpt"}},
)


OTHERS: tuple[Any, ...] = ("", "replace", None, [], 7, ...)
"""What takes the place of something in a file; `...` leaves it out."""


def places(value: Any, *where: str | int) -> Iterator[tuple[str | int, ...]]:
    """Walk every place in a JSON document that has a value of its own."""
    if where:
        yield where
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from places(inner, *where, key)


def with_a_digest_of_its_own(held: dict[str, Any]) -> dict[str, Any]:
    content = {key: value for key, value in held.items() if key not in {"digest", "seal"}}
    return {**held, "digest": digest_of_json(content)}


@pytest.mark.parametrize("signer", [None, HMAC])
def test_whatever_is_edited_or_left_out_nothing_of_the_file_is_used(path: Path, signer: Signer | None) -> None:
    save_plan(path, SHOWN, Selection(("a", "b*"), ("west",), "replace", ("a",)), signer)
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert len(list(places(whole))) > 60
    for *around, last in places(whole):
        for value in OTHERS:
            changed = json.loads(json.dumps(whole))
            part = changed
            for key in around:
                part = part[key]
            if value is ...:
                del part[last]
            else:
                part[last] = value
            path.write_text(json.dumps(changed), encoding="utf-8")
            if changed == whole or (signer is None and (around or [last])[0] == "seal"):
                continue  # Without a key nobody looks at a seal.
            with pytest.raises((PlanNotTrusted, PlanUnreadable, NewerFormat)):
                load_plan(path, "invoices", signer)


@each_signer
def test_with_a_key_no_edit_passes_however_consistent_it_is(path: Path, signer: Signer) -> None:
    refused = plan(replace(ITEM, verdict=Verdict.TARGET_AHEAD, action=Action.REFUSE, reason="It was edited at west."))
    save_plan(path, refused, Selection(), signer)
    held = json.loads(path.read_text(encoding="utf-8"))
    held["force"] = ["a"]
    held["items"][0] |= {"action": "replace", "reason": "west has an older copy."}
    path.write_text(json.dumps(with_a_digest_of_its_own(held)), encoding="utf-8")
    with pytest.raises(PlanNotTrusted, match="signature that belongs to other content, so nothing was done"):
        load_plan(path, "invoices", signer)
    path.write_text(json.dumps(with_a_digest_of_its_own(held) | {"seal": None}), encoding="utf-8")
    with pytest.raises(PlanNotTrusted, match="has no signature"):
        load_plan(path, "invoices", signer)
    old = {key: value for key, value in held.items() if key not in {"digest", "seal"}} | {"format": 1}
    path.write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(PlanNotTrusted, match="has no signature"):
        load_plan(path, "invoices", signer)


@each_signer
def test_what_a_key_signed_is_trusted_under_that_key_alone(path: Path, signer: Signer) -> None:
    assert saved(path, SHOWN, signer=signer).items
    with pytest.raises(PlanNotTrusted, match=r"was made with key \w+, but the configured key is "):
        load_plan(path, "invoices", HmacSigner(b"another secret of many letters"))
    assert load_plan(path, "invoices").items, "without a key nobody can check it"


def test_the_order_and_the_spacing_of_a_file_do_not_matter(path: Path) -> None:
    save_plan(path, SHOWN, Selection(), HMAC)
    held = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(held, sort_keys=True), encoding="utf-8")
    assert load_plan(path, "invoices", HMAC).items


def test_what_cannot_be_signed_is_not_saved(path: Path) -> None:
    with pytest.raises(CannotSign):
        save_plan(path, SHOWN, Selection(), signer_for(Ed25519Signing(public_key=PUBLIC)))
    assert not path.exists()
    save_plan(path, SHOWN, Selection(), ED25519)
    assert load_plan(path, "invoices", signer_for(Ed25519Signing(public_key=PUBLIC))).items


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileUnwritable, match="cannot be written"):
        save_plan(tmp_path / "no" / "folder" / "plan.json", plan(CHILD), Selection())


def test_a_saved_plan_replaces_the_old_one_as_a_whole(path: Path) -> None:
    save_plan(path, plan(ITEM, CHILD), Selection())
    save_plan(path, plan(CHILD), Selection())
    assert len(load_plan(path, "invoices").items) == 1
    assert [found.name for found in path.parent.iterdir()] == [path.name]
