"""The pages about Prefect: events, blocks, and deployments with their parameters, schedules and triggers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prefect.blocks.core import Block
from prefect.utilities.importtools import import_object

from docs.site.configuration import models_in
from docs.site.markdown import as_sentence, code, notes_of, shown, summary, table, type_words
from standby import blocks
from standby.document import JsonValue, json_text
from standby.flows import events

PREFECT_YAML = Path(__file__).parents[2] / "prefect.yaml"


def every_event() -> dict[str, str]:
    """Give each event with what the source says of it."""
    notes = notes_of(events)
    return {
        value: as_sentence(notes.get(name, ""))
        for name, value in vars(events).items()
        if name.isupper() and isinstance(value, str) and value.startswith(("standby.", "content-understanding."))
    }


def events_page() -> str:
    """Write the page about events."""
    text = [
        "# Events",
        "Flows emit these events on the Prefect server, for automations and notifications. The resource of an event of "
        "a plan is `standby.plan.PLAN`; that of an event of a resource is `content-understanding.resource.NAME`, with "
        "each plan as a related resource in the role `served-by` or `standby-of`.",
        table(
            ("event", "when, and what its payload adds"), ((code(name), note) for name, note in every_event().items())
        ),
        "## The payload of every event of a plan {#payload}",
        table(
            ("key", "meaning"),
            (
                ("`plan`", "Name of the plan."),
                ("`run_id`", "The flow run that emits it."),
                ("`link`", "Its page in the Prefect UI."),
                ("`severity`", "`info`, `warning` or `critical`, which should wake people."),
                ("`summary`", "What happened, what it means and what to do, in sentences."),
            ),
        ),
        "Who is told of which: [Notifications](notifications.md).",
    ]
    return "\n\n".join(text) + "\n"


def every_block() -> list[type[Block]]:
    """Give the classes of blocks."""
    found = [getattr(blocks, name) for name in blocks.__all__]
    return [each for each in found if isinstance(each, type) and issubclass(each, Block)]


def blocks_page() -> str:
    """Write the page about blocks."""
    text = [
        "# Blocks",
        "What Prefect keeps for flows. `standby bootstrap` saves them from `standby.yaml`; they can be edited in the "
        "Prefect UI. Secret fields are shown as asterisks there.",
    ]
    for block in every_block():
        slug = block.get_block_type_slug()
        text += [f"## {block.get_block_type_name()} {{#{slug}}}", f"Type `{slug}`. {block.get_description() or ''}"]
        properties = block.model_json_schema()["properties"]
        text.append(table(("field", "type", "default", "meaning"), _fields(block, properties)))
    return "\n\n".join(text) + "\n"


def _fields(block: type[Block], properties: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, field in block.model_fields.items():
        below = [each.__name__ for each in models_in(field.annotation)]
        words = f"as in [standby.yaml](configuration.md): {', '.join(below)}" if below else type_words(properties[name])
        if below and issubclass(models_in(field.annotation)[0], Block):
            words = f"block: {', '.join(below)}"
        default = "must be given" if field.is_required() else code(_short(properties[name].get("default")))
        yield code(name), words.replace(" or nothing", ""), default, as_sentence(field.description or "")


def _short(value: JsonValue) -> str:
    text = "" if value in (None, "", [], {}) else " ".join(json_text(value).split())
    return text if len(text) < 40 else "…"


def every_deployment() -> list[dict[str, Any]]:
    """Read the deployments, as `prefect deploy --all` does."""
    found: list[dict[str, Any]] = yaml.safe_load(PREFECT_YAML.read_text(encoding="utf-8"))["deployments"]
    return found


def deployments_page() -> str:
    """Write the page about deployments."""
    text = [
        "# Deployments",
        "What `standby bootstrap` makes from `prefect.yaml`. A deployment with a schedule or a trigger is made for "
        "each plan; `invoices` stands for its name below. Change schedules in the Prefect UI: bootstrap keeps them.",
        table(
            ("deployment", "runs on", "when it runs"),
            ((code(_name(each)), code(each["work_pool"]["name"]), _when(each)) for each in every_deployment()),
        ),
        "## Parameters {#parameters}",
    ]
    for entrypoint in dict.fromkeys(each["entrypoint"] for each in every_deployment()):
        flow = import_object(entrypoint.replace(":", "."))
        named = [code(_name(each)) for each in every_deployment() if each["entrypoint"] == entrypoint]
        text += [f"### {flow.name} {{#{flow.name}}}", f"{', '.join(named)}. {as_sentence(summary(flow.fn))}"]
        required = flow.parameters.required or []
        rows = (
            (
                code(name),
                type_words({**value, "definitions": {}}) if "$ref" not in value else "mapping",
                "must be given" if name in required else shown(value.get("default")),
                as_sentence(value.get("description", "")),
            )
            for name, value in flow.parameters.properties.items()
        )
        text.append(table(("parameter", "type", "default", "meaning"), rows))
    return "\n\n".join(text) + "\n"


def _name(deployment: dict[str, Any]) -> str:
    flow = import_object(deployment["entrypoint"].replace(":", "."))
    return f"{flow.name}/{deployment['name']}"


def _when(deployment: dict[str, Any]) -> str:
    said = []
    for schedule in deployment.get("schedules", []):
        cron, interval = schedule.get("cron"), schedule.get("interval")
        said.append(f"cron {code(cron)} UTC" if cron else f"every {interval} s, or as `failover.probe_every` says")
    for trigger in deployment.get("triggers", []):
        wanted = ", ".join(code(each) for each in trigger["expect"])
        said.append(f"after {trigger['threshold']} events {wanted} within {trigger['within']} s")
    return as_sentence("; ".join(said) or "by hand, or from another flow")
