"""Metrics and traces: which there are, and how a run pushes its own by OTLP where a collector is configured.

Names and units follow OpenTelemetry's conventions. Nothing of OpenTelemetry is imported where no collector is
configured, and nothing here raises: what measures stops no work.
"""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from standby import __version__
from standby.errors import ExtraMissing, GuardRefused, of_extra

log = logging.getLogger("standby.telemetry")
Value = str | int


@dataclass(frozen=True)
class Metric:
    """One instrument. The values of its attributes are given in their order; an empty one is left out."""

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    kind: Literal["gauge", "counter", "histogram"] = "gauge"
    boundaries: tuple[float, ...] = ()  # of the buckets of a histogram

    @property
    def exposed(self) -> str:
        """The name that it has in Prometheus, by OpenTelemetry's rules: a unit in braces adds nothing."""
        added = {"s": "_seconds", "1": "_ratio"}.get(self.unit, "")
        return self.name.replace(".", "_") + added + ("_total" if self.kind == "counter" else "")

    def labelled(self, values: Iterable[Value]) -> dict[str, Value]:
        return {name: value for name, value in zip(self.attributes, values, strict=True) if value != ""}


PLAN, PRIMARY, TARGET, RESOURCE = "standby.plan", "standby.primary", "standby.target", "standby.resource"
OPERATION, RESULT, STATE, KIND = "standby.operation", "standby.result", "standby.state", "standby.kind"
METHOD, ADDRESS, STATUS, ERROR = "http.request.method", "server.address", "http.response.status_code", "error.type"
SHORT = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)  # OpenTelemetry's for HTTP
LONG = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

# What a run pushes by OTLP.
_TOOK = "How long a run of a flow or command took."
RUN_DURATION = Metric("standby.run.duration", "s", _TOOK, (OPERATION, PLAN, RESULT, ERROR), "histogram", LONG)
_ENDED = "Copies and restores of analyzers, by how they ended; of those that failed, the kind of error."
COPIES = Metric("standby.copies", "{copy}", _ENDED, (OPERATION, PLAN, TARGET, RESULT, ERROR), "counter")
_COPIED = "How long a copy or restore of one analyzer took."
COPY_DURATION = Metric("standby.copy.duration", "s", _COPIED, (OPERATION, TARGET, RESULT), "histogram", LONG)
_CALLED = "How long a call to a resource took; each attempt counts."
CALL_DURATION = Metric(
    "http.client.request.duration", "s", _CALLED, (RESOURCE, METHOD, ADDRESS, STATUS, ERROR), "histogram", SHORT
)
THROTTLES = Metric(
    "standby.throttles", "{call}", "Calls that a resource refused as too many (HTTP 429).", (RESOURCE,), "counter"
)
_PROBED = "How long a probe of a resource took, by what it found."
PROBE_DURATION = Metric("standby.probe.duration", "s", _PROBED, (RESOURCE, RESULT), "histogram", SHORT)

# Both that, as the run ends, and what the gateway serves, of the runs that the vault has records of.
_WELL = "When a flow or command last ended well, in seconds since 1970."
LAST_SUCCESS = Metric("standby.run.last_success.time", "s", _WELL, (OPERATION, PLAN))

# What the gateway serves, by what the vault says.
_STATE = "1 for the state of a target at the last check, 0 for the others."
READINESS = Metric("standby.readiness.state", "{target}", _STATE, (PLAN, PRIMARY, TARGET, STATE))
RPO_AGE = Metric("standby.rpo.age", "s", "Age of the oldest recovery point at a target.", (PLAN, PRIMARY, TARGET))
RPO_OBJECTIVE = Metric("standby.rpo.objective", "s", "The RPO of a plan that has one.", (PLAN,))
_LESSENS = "Concerns about the protection of a plan, by kind and severity."
CONCERNS = Metric("standby.concerns", "{concern}", _LESSENS, (PLAN, KIND, "standby.severity"))
EPOCH = Metric("standby.epoch", "{epoch}", "The epoch of the fence: it grows with each failover.", (PLAN,))
_SERVES = "1 for the resource that serves for a primary, with the phase of its failover."
SERVING = Metric("standby.serving", "{resource}", _SERVES, (PLAN, PRIMARY, RESOURCE, STATE))
_LASTED = "What copies, restores, detections and activations took: the median, and the slowest tenth."
MEASURED = Metric("standby.measured.duration", "s", _LASTED, (PLAN, KIND, "standby.statistic"))
_PROVED = "Analyzers at a target, by what sample documents said of them last."
PROVED = Metric("standby.proof.analyzers", "{analyzer}", _PROVED, (PLAN, PRIMARY, TARGET, "standby.verdict"))
_AGREES = "The lowest share of fields in which an analyzer at a target agreed with its source."
PROOF_AGREEMENT = Metric("standby.proof.agreement", "1", _AGREES, (PLAN, PRIMARY, TARGET))
_AGED = "Age of the oldest proof by document at a target."
PROOF_AGE = Metric("standby.proof.age", "s", _AGED, (PLAN, PRIMARY, TARGET))
PROOF_OBJECTIVE = Metric("standby.proof.objective", "s", "How old a plan allows a proof by document to be.", (PLAN,))
_SPENT = "Analyses of sample documents that were begun this month; each costs."
PROOF_ANALYSES = Metric("standby.proof.analyses", "{analysis}", _SPENT, (PLAN,))
REPLICA_BEHIND = Metric("standby.vault.replica.behind", "{file}", "Files that the replica of the vault lacks.")
REPLICA_LAG = Metric("standby.vault.replica.lag", "s", "How long the replica of the vault is behind; 0 if it is not.")
_READ = "1 if a part of the vault could be read; 0 if not, and then what it says is left out."
READABLE = Metric("standby.vault.readable", "{part}", _READ, (PLAN, KIND))
READ_DURATION = Metric("standby.vault.read.duration", "s", "How long the last reading of the vault took.")

METRICS = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
OF_RUNS = METRICS[: METRICS.index(LAST_SUCCESS) + 1]
OF_THE_GATEWAY = METRICS[METRICS.index(LAST_SUCCESS) :]

FLUSH_SECONDS = 2.0  # How long the end of a run waits for the collector at most
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TRUE = "true"


Note = Callable[[str, Value], object]  # Adds an attribute to a span that is open


class _Failures(logging.Handler):
    """Notes that an exporter failed, which it only logs; its own message may quote an address, so it is not shown."""

    failed = False

    def emit(self, record: logging.LogRecord) -> None:
        self.failed = self.failed or record.levelno >= logging.WARNING


class _Exporter:
    """OpenTelemetry's SDK, set up by its own variables of the environment."""

    def __init__(self) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
        from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.failures, quiet = _Failures(), logging.getLogger("opentelemetry")
        quiet.addHandler(self.failures)
        quiet.propagate = False
        found = Resource.create()
        ours = {"service.version": __version__, "service.instance.id": socket.gethostname(), **found.attributes}
        if str(found.attributes["service.name"]).startswith("unknown_service"):
            ours["service.name"] = "standby"
        resource = Resource(ours)
        readers = []
        if _wanted("METRICS"):
            # A run is short: it sends what it added, since nobody could know from which value it began.
            delta = AggregationTemporality.DELTA
            added: dict[type, AggregationTemporality] = {Counter: delta, Histogram: delta}
            chosen = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE" in os.environ
            exporter = OTLPMetricExporter(preferred_temporality=None if chosen else added)
            readers.append(PeriodicExportingMetricReader(exporter))
        # Not global: Prefect would then trace every task run, and call its server once more for each run.
        self._meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if _wanted("TRACES"):
            self._tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._trace, self.context = trace, TraceContextTextMapPropagator()
        self._tracer = self._tracers.get_tracer("standby", __version__)
        meter = self._meters.get_meter("standby", __version__)
        self._record = {metric: _instrument(meter, metric) for metric in OF_RUNS}

    def record(self, metric: Metric, value: float, attributes: Mapping[str, Value]) -> None:
        self._record[metric](value, attributes)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Value], kind: str) -> Iterator[Note]:
        current, outside = self._trace.get_current_span(), None
        if not current.get_span_context().is_valid:
            # It may have been started by a pipeline that has a trace of its own.
            outside = self.context.extract({"traceparent": os.environ.get("TRACEPARENT", "")})
        with self._tracer.start_as_current_span(
            *(name, outside, self._trace.SpanKind[kind]),
            {key: value for key, value in attributes.items() if value != ""},
            # The texts of errors name analyzers, and traces leave this system: only the kind of error is noted.
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            try:
                yield opened.set_attribute
            except BaseException as error:
                opened.set_attribute(ERROR, type(error).__name__)
                opened.set_status(self._trace.StatusCode.ERROR)
                raise

    def flush(self) -> None:
        """Send all that was measured; it takes as long as the collector takes."""
        for provider in (self._meters, self._tracers):
            try:
                self.failures.failed |= not provider.force_flush()
            except Exception:
                self.failures.failed = True


def _instrument(meter: Any, metric: Metric) -> Any:
    about: dict[str, Any] = {"unit": metric.unit, "description": metric.description}
    match metric.kind:
        case "counter":
            return meter.create_counter(metric.name, **about).add
        case "gauge":
            return meter.create_gauge(metric.name, **about).set
        case "histogram":
            about["explicit_bucket_boundaries_advisory"] = list(metric.boundaries)
            return meter.create_histogram(metric.name, **about).record


def _wanted(signal: str) -> bool:
    named = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp") != "none"
    return named and any(os.environ.get(name) for name in (ENDPOINTS[0], f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))


@cache
def _exporter() -> _Exporter | None:
    """Give what pushes to the collector that the environment names; `None` where it names none, or none can be used."""
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == TRUE
    if is_disabled or not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        log.warning("Nothing is measured: OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, the collector's port 4318")
        return None
    try:
        with of_extra("metrics", "OpenTelemetry"):
            return _Exporter()
    except ExtraMissing as error:
        log.warning("Nothing is measured: %s", error)
        return None
    except Exception as error:
        log.warning("Nothing is measured: the OTEL_ variables cannot be used (%s)", type(error).__name__)
        return None


def is_on() -> bool:
    return _exporter() is not None


def record(metric: Metric, value: float, *values: Value) -> None:
    """Record a value of a metric with those of its attributes."""
    if exporter := _exporter():
        with suppress(Exception):
            exporter.record(metric, value, metric.labelled(values))


def span(name: str, attributes: Mapping[str, Value], kind: str = "INTERNAL") -> AbstractContextManager[Note]:
    """Do something as a span. Nothing secret is given as an attribute, and nothing of what a service says."""
    exporter = _exporter()
    return nullcontext(lambda _name, _value: None) if exporter is None else exporter.span(name, attributes, kind)


def pass_on(headers: MutableMapping[str, str]) -> None:
    """Add the W3C context of the span that is open, by which whoever is called can name it."""
    if exporter := _exporter():
        exporter.context.inject(headers)


async def flush() -> None:
    """Send what was measured, and wait a moment; a collector that does not answer is not waited for any longer."""
    exporter = _exporter()
    if exporter is None:
        return
    sent, loop = asyncio.Event(), asyncio.get_running_loop()

    def send() -> None:
        exporter.flush()
        with suppress(RuntimeError):  # Nobody waits for it any more.
            loop.call_soon_threadsafe(sent.set)

    # Not in the pool of the loop, which would be waited for at the end.
    threading.Thread(target=send, name="standby-telemetry", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_SECONDS):
            await sent.wait()
    if exporter.failures.failed or not sent.is_set():
        exporter.failures.failed = False
        log.warning(
            "Metrics and traces of this run did not reach the collector; nothing else is lost. "
            "Check that it is up, and OTEL_EXPORTER_OTLP_ENDPOINT"
        )


@dataclass
class Run:
    """A run that is under way; its result is a word: done, partial, refused, interrupted or failed."""

    operation: str = ""
    plan: str = ""
    result: str = "done"
    error: str = ""


_RUN: ContextVar[Run | None] = ContextVar("standby_run", default=None)


def under_way() -> Run:
    return _RUN.get() or Run()


@asynccontextmanager
async def measured(operation: str, plan: str) -> AsyncIterator[Run]:
    """Measure a run of a flow or command, and push it as it ends; one within another is a part of that one."""
    run, begun = Run(operation, plan), time.monotonic()
    if _RUN.get() is not None or not is_on():
        yield run
        return
    token = _RUN.set(run)
    try:
        with span(f"{operation} {plan}".strip(), {OPERATION: operation, PLAN: plan}) as note:
            try:
                yield run
            except BaseException as error:
                stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
                run.result = "refused" if isinstance(error, GuardRefused) else "interrupted" if stopped else "failed"
                run.error = type(error).__name__
                raise
            finally:
                note(RESULT, run.result)
    finally:
        _RUN.reset(token)
        record(RUN_DURATION, time.monotonic() - begun, operation, plan, run.result, run.error)
        if run.result == "done":
            record(LAST_SUCCESS, time.time(), operation, plan)
        await flush()
