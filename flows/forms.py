"""The forms by which people start runs in the Prefect UI, out of what the flows' own signatures say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from standby.recovery.decision.input import FORCEABLE

Schema = Mapping[str, Any]

TITLES = {
    "plan": "Recovery plan",
    "targets": "Target resources",
    "on_existing": "If a target has a different one",
    "dry_run": "Only show what would be done",
    "apply": "Saved plan to carry out",
    "dispatch": "Where copies are made",
    "samples": "Samples of each analyzer",
    "to": "To resource",
    "as_of": "Snapshot up to",
    "home": "Primary",
    "by": "Your name",
    "scratch": "Scratch resource",
    "keep": "Which edit to keep",
    "on": "Outages may start a failover",
    "outage_of": "Resource that was reported",
}
"""What parameters are called on a form, where their own names are no words for it."""

INTERNAL = frozenset({"outage_of"})
"""What only automations give; a deployment that no automation starts has it not on its form."""

LOSS = ("fence",)  # What may be forced where a guard is none


@dataclass(frozen=True)
class Choices:
    """What can be chosen on a form, by name."""

    plans: tuple[str, ...]
    targets: tuple[str, ...]  # resources that analyzers are copied to
    resources: tuple[str, ...]

    def of(self, flow: str) -> dict[str, tuple[str, ...]]:
        """Give the choices of a flow's parameters; any text fits the others."""
        # A switch that nobody touches looks like "off".
        every = {"plan": self.plans, "targets": self.targets, "on": ("on", "off")}
        every |= dict.fromkeys(("to", "home", "scratch", "outage_of", "source", "target"), self.resources)
        forced = {"failover": FORCEABLE, **dict.fromkeys(("commit", "drill", "restore"), LOSS)}
        return {**every, "force": forced[flow]} if flow in forced else every


def form(schema: Schema, flow: str, choices: Choices, *, started_by_events: bool) -> dict[str, Any]:
    """Make the form of a deployment out of its parameters' schema; made of a form, it is the same again."""
    properties = {
        name: _field(name, field, choices.of(flow).get(name, ()))
        for name, field in schema["properties"].items()
        if started_by_events or name not in INTERNAL
    }
    return {**schema, "properties": properties}


def _field(name: str, field: Schema, choices: Iterable[str]) -> dict[str, Any]:
    """Make one field: titled in words, without line ends, of one type, and with choices where there are any."""
    made = {**field, "title": TITLES.get(name, name.replace("_", " ").capitalize())}
    made["description"] = " ".join(str(field.get("description", "")).split())
    # "This or nothing" is shown as two types to choose between; what is left empty is not sent.
    kinds = [kind for kind in made.pop("anyOf", []) if kind.get("type") != "null"]
    if len(kinds) == 1:
        made |= kinds[0]
        del made["default"]
    elif kinds:
        made["anyOf"] = kinds
    if offered := list(choices):
        made["type"] = "array" if made["type"] == "array" else "string"
        if made["type"] == "array":
            made["items"] = {**made["items"], "enum": offered}
        else:
            made["enum"] = offered if made.get("default") is None else list(dict.fromkeys(("", *offered)))
    return made
