"""What a command pushes to a collector: what it did, and no secret."""

from __future__ import annotations

from collections import Counter

from tests.standby.cli.conftest import CANARIES, Workspace
from tests.standby.test_telemetry import attributes, collecting


def test_a_replication_and_a_failover_push_what_they_did_and_no_secret(workspace: Workspace) -> None:
    workspace.edit("[west, north]", "[west]")
    with collecting() as (endpoint, collector):
        workspace.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        copied = workspace.ended(workspace.start("--json", "replicate", "invoices"))
        switched = workspace.ended(workspace.start("failover", "invoices", "--to", "west", "--planned", "--yes"))

    assert (copied.status, switched.status) == (0, 0), copied.err + switched.err
    copies = [
        each for each in collector.metrics["standby.copies"] if attributes(each)["standby.operation"] == "replicate"
    ]
    results = Counter[str]()
    for each in copies:
        results[attributes(each)["standby.result"]] += each.as_int
    assert results["succeeded"] == copied.document["totals"]["succeeded"] > 0
    parents = {span.span_id: span for span in collector.spans}
    named = {span.name.split()[0] for span in parents.values() if span.parent_span_id not in parents}
    assert named == {"replicate", "failover"}
    written = b"".join(body for bodies in collector.bodies.values() for body in bodies)
    assert not [name for name, key in CANARIES.items() if key.encode() in written]


def test_a_collector_that_does_not_answer_keeps_no_failover_from_its_end(workspace: Workspace) -> None:
    workspace.edit("[west, north]", "[west]")
    assert workspace.run("replicate", "invoices").status == 0
    workspace.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    switched = workspace.ended(workspace.start("failover", "invoices", "--to", "west", "--planned", "--yes"))

    assert switched.status == 0
    assert switched.err.count("did not reach the collector") == 1
