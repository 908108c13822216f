"""Faults on demand: which there are, and which calls they may happen to."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

CallKind = Literal[
    "list",
    "get",
    "put",
    "patch",
    "delete",
    "get_defaults",
    "patch_defaults",
    "authorize",
    "copy",
    "poll",
    "analyze",
    "get_result",
    "delete_result",
    "arm_resource",
    "arm_deployments",
    "arm_models",
    "arm_subscriptions",
    "arm_accounts",
]
CALL_KINDS: tuple[CallKind, ...] = get_args(CallKind)
ELSEWHERE = "https://elsewhere.invalid"  # An origin that belongs to nobody (RFC 6761)


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: ClassVar[frozenset[CallKind]] = frozenset(CALL_KINDS)  # the kinds of call that it can happen to


class Instead(_Fault):
    """A fault instead of the answer; `process` carries the call out nevertheless."""

    process: bool = False


class Twist(_Fault):
    """A fault of the service's own work: the call is answered as if all were well."""


class Status(Instead):
    """Answer with an error of one's choice; `retry_after` is seconds or an HTTP date."""

    kind: Literal["status"] = "status"
    status: int = Field(ge=300, le=599)
    code: str = ""
    inner_code: str | None = None
    message: str = "Injected by the emulator."
    retry_after: float | str | None = None


class Drop(Instead):
    """Close the connection instead of answering."""

    kind: Literal["drop"] = "drop"


class Hang(Instead):
    """Never answer."""

    kind: Literal["hang"] = "hang"


class Delay(_Fault):
    """Answer late."""

    kind: Literal["delay"] = "delay"
    seconds: float = Field(ge=0)


class Malformed(Instead):
    """Answer 200 with a body that cannot be read: a web page, nothing, half of one, or bytes that are no gzip."""

    kind: Literal["malformed"] = "malformed"
    body: Literal["page", "nothing", "half", "gzip"] = "page"


class Redirect(Instead):
    """Answer 307 with a place at another origin."""

    kind: Literal["redirect"] = "redirect"
    origin: str = ELSEWHERE


class VoidGrant(Twist):
    """Answer the authorization as if it were granted, and grant nothing."""

    calls = frozenset({"authorize"})
    kind: Literal["void_grant"] = "void_grant"


class ShortGrant(Twist):
    """Grant for these seconds only."""

    calls = frozenset({"authorize"})
    kind: Literal["short_grant"] = "short_grant"
    seconds: float


class OfOperation(Twist):
    """A fault of the operation that a call begins."""

    calls = frozenset({"put", "copy"})


class OperationHangs(OfOperation):
    """Begin an operation that never ends."""

    kind: Literal["operation_hangs"] = "operation_hangs"


class OperationFails(OfOperation):
    """Begin an operation that ends as `Failed`, and its analyzer with it."""

    kind: Literal["operation_fails"] = "operation_fails"
    code: str = "InternalServerError"
    message: str = "Injected by the emulator."


class OperationVanishes(OfOperation):
    """Begin an operation that no poll can find; its analyzer becomes ready nevertheless."""

    kind: Literal["operation_vanishes"] = "operation_vanishes"


class AnalyzerFails(OfOperation):
    """Begin an operation that succeeds and leaves its analyzer `failed`."""

    kind: Literal["analyzer_fails"] = "analyzer_fails"


class ShownLate(OfOperation):
    """Begin an operation as always; for these seconds the analyzer is shown as it was before, or not at all."""

    kind: Literal["shown_late"] = "shown_late"
    seconds: float = Field(ge=0)


class OfAnalysis(Twist):
    """A fault of the analysis that a call begins."""

    calls = frozenset({"analyze"})


class AnalysisHangs(OfAnalysis):
    """Begin an analysis that never ends."""

    kind: Literal["analysis_hangs"] = "analysis_hangs"


class AnalysisFails(OfAnalysis):
    """Begin an analysis that ends as `Failed`."""

    kind: Literal["analysis_fails"] = "analysis_fails"
    code: str = "InternalServerError"
    inner_code: str | None = None
    message: str = "Injected by the emulator."


class AnswersDifferently(OfAnalysis):
    """Answer with other values in a share of the fields, or in those that are named, as a copy that went wrong."""

    kind: Literal["answers_differently"] = "answers_differently"
    fields: Annotated[float, Field(ge=0, le=1)] | tuple[str, ...] = 1.0
    markdown: bool = False


class ForeignLocation(Twist):
    """Name a place at another origin in `Operation-Location` or `nextLink`."""

    calls = OfOperation.calls | OfAnalysis.calls | {"list"}
    kind: Literal["foreign_location"] = "foreign_location"
    origin: str = ELSEWHERE


class LoopingNextLink(Twist):
    """Answer a page of the listing whose `nextLink` leads to itself."""

    calls = frozenset({"list"})
    kind: Literal["looping_next_link"] = "looping_next_link"


class Rewritten(Twist):
    """Answer with the first match of a pattern, or of its group, replaced by a text, whose characters are bytes."""

    kind: Literal["rewritten"] = "rewritten"
    pattern: str
    text: str


Replacement = Status | Drop | Hang | Malformed | Redirect  # What can be answered instead

Fault = Annotated[
    Replacement
    | Delay
    | VoidGrant
    | ShortGrant
    | OperationHangs
    | OperationFails
    | OperationVanishes
    | AnalyzerFails
    | ShownLate
    | AnalysisHangs
    | AnalysisFails
    | AnswersDifferently
    | ForeignLocation
    | LoopingNextLink
    | Rewritten,
    Field(discriminator="kind"),
]


class FaultRule(_Fault):
    """A fault and the calls it happens to; of a copy, `analyzer` is the target's. `times: null` is for ever."""

    resource: str | None = None
    call: CallKind | Literal["*"] = "*"
    analyzer: str | None = None
    times: int | None = Field(1, ge=1)
    after: int = Field(0, ge=0)
    fault: Fault

    @model_validator(mode="after")
    def _fault_fits_call(self) -> Self:
        if self.call != "*" and self.call not in self.fault.calls:
            raise ValueError(f"{self.fault.kind} does not happen to {self.call} calls")
        return self

    def matches(self, resource: str, kind: CallKind, analyzer: str | None) -> bool:
        return (
            self.resource in {None, resource}
            and self.call in {"*", kind}
            and kind in self.fault.calls
            and (self.analyzer is None or (analyzer is not None and fnmatchcase(analyzer, self.analyzer)))
        )


@dataclass
class _Armed:
    rule: FaultRule
    matched: int = 0  # calls that it could have happened to
    happened: int = 0


class FaultBook:
    """Rules in the order they came.

    To one call all delays happen that are due, but only one fault instead of the answer and one twist
    of the service's work: the others wait for the next call.
    """

    def __init__(self, rules: Iterable[FaultRule] = ()) -> None:
        self._armed = [_Armed(rule) for rule in rules]

    def add(self, rules: Iterable[FaultRule]) -> None:
        self._armed.extend(_Armed(rule) for rule in rules)

    def next(
        self, resource: str, kind: CallKind, analyzer: str | None
    ) -> tuple[float, Replacement | None, Twist | None]:
        """Say how late a call is, what is answered instead and what goes wrong inside; those rules are used up."""
        delay = 0.0
        instead: Replacement | None = None
        twist: Twist | None = None
        waiting = [armed for armed in self._armed if armed.rule.matches(resource, kind, analyzer)]
        # Those instead of the answer come first: a call that is not carried out spends no twist.
        for armed in sorted(waiting, key=lambda armed: isinstance(armed.rule.fault, Twist)):
            armed.matched += 1
            fault = armed.rule.fault
            if armed.matched <= armed.rule.after:
                continue
            if isinstance(fault, Delay):
                delay += fault.seconds
            elif isinstance(fault, Replacement) and instead is None:
                instead = fault
            elif isinstance(fault, Twist) and twist is None and (instead is None or instead.process):
                twist = fault
            else:
                continue
            armed.happened += 1
        self._armed = [armed for armed in self._armed if armed.happened != armed.rule.times]
        return delay, instead, twist
