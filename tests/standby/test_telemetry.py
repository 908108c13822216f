"""What runs push by OTLP, read back from what a collector on this machine was sent."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from standby import telemetry


class Collector:
    """What arrived, by the path of the signal."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {"/v1/metrics": [], "/v1/traces": []}

    @property
    def metrics(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for body in self.bodies["/v1/metrics"]:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
                    data = getattr(metric, metric.WhichOneof("data"))
                    found.setdefault(metric.name, []).extend(data.data_points)
        return found

    @property
    def spans(self) -> list[Any]:
        requests = map(ExportTraceServiceRequest.FromString, self.bodies["/v1/traces"])
        scopes = (
            scope for request in requests for resource in request.resource_spans for scope in resource.scope_spans
        )
        return [span for scope in scopes for span in scope.spans]


@contextmanager
def collecting() -> Iterator[tuple[str, Collector]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.bodies[self.path].append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def attributes(point: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


PROGRAM = """
import asyncio, sys
from standby import telemetry

async def main():
    async with telemetry.measured("replicate", "invoices") as run:
        with telemetry.span("copy to west", {"standby.target": "west"}):
            headers = {}
            telemetry.pass_on(headers)
        telemetry.record(telemetry.COPIES, 1, run.operation, run.plan, "west", "failed", "Conflict")
        telemetry.record(telemetry.COPY_DURATION, 3.0, run.operation, "west", "failed")
        telemetry.record(telemetry.CALL_DURATION, 0.1, "west", "PUT", "west.example", 429, "429")
        telemetry.record(telemetry.THROTTLES, 1, "west")
        telemetry.record(telemetry.PROBE_DURATION, 0.2, "west", "healthy")
    print(headers.get("traceparent", ""))

asyncio.run(main())
"""


def ran(endpoint: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **more}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, text=True, capture_output=True, check=True, timeout=50
    )


def test_a_run_pushes_every_metric_of_runs_by_its_name_unit_and_attributes() -> None:
    with collecting() as (endpoint, collector):
        ran(endpoint)

    assert collector.metrics.keys() == {metric.name for metric in telemetry.OF_RUNS}
    (copies,) = collector.metrics["standby.copies"]
    assert attributes(copies) == {
        "standby.operation": "replicate",
        "standby.plan": "invoices",
        "standby.target": "west",
        "standby.result": "failed",
        "error.type": "Conflict",
    }
    (took,) = collector.metrics["standby.copy.duration"]
    assert (took.count, took.sum, tuple(took.explicit_bounds)) == (1, 3.0, telemetry.LONG)


def test_a_copy_is_a_span_of_its_run_and_a_call_is_told_of_it_in_w3c_form() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with collecting() as (endpoint, collector):
        said = ran(endpoint, TRACEPARENT=parent).stdout.strip()

    copy, run = sorted(collector.spans, key=lambda span: span.name)
    assert (copy.name, run.name) == ("copy to west", "replicate invoices")
    assert copy.parent_span_id == run.span_id
    assert (run.trace_id.hex(), run.parent_span_id.hex()) == tuple(parent.split("-")[1:3])
    assert said == f"00-{copy.trace_id.hex()}-{copy.span_id.hex()}-01"


def test_a_collector_that_is_dead_costs_two_seconds_and_no_failure() -> None:
    begun = time.monotonic()
    ended = ran("http://127.0.0.1:9")

    assert "did not reach the collector" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - begun < telemetry.FLUSH_SECONDS + 10  # With the start of Python on a busy machine.


def test_nothing_of_opentelemetry_is_imported_where_no_collector_is_named() -> None:
    program = f"{PROGRAM}\nprint(sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    for more in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}):
        found = subprocess.run(
            [sys.executable, "-c", program], env=more, text=True, capture_output=True, check=True, timeout=50
        )
        assert found.stdout.split("\n")[1] == "[]"


def test_metrics_or_traces_can_be_left_out() -> None:
    with collecting() as (endpoint, collector):
        ran(endpoint, OTEL_TRACES_EXPORTER="none")

    assert collector.metrics
    assert not collector.spans
