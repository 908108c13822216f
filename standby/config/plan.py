"""A recovery plan: what is copied from where to where, and under which policies."""

import secrets
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, assert_never

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from standby.config.durations import Duration, Seconds, Since, parse_seconds
from standby.config.resource import DeploymentOverrides, Name, Resource, geography_of, zone_of
from standby.document import LocalPath, Strict
from standby.text import nearest


class FreshKey(Strict):
    """A random key for every copy."""

    kind: Literal["generate"] = "generate"


class NoEncryption(Strict):
    """No second encryption of the authorization token."""

    kind: Literal["none"] = "none"


class GivenKey(Strict):
    """One key for all copies of the plan."""

    kind: Literal["given"] = "given"
    key: SecretStr = Field(min_length=1, description="Key that encrypts the authorization token.")


Encryption = Annotated[FreshKey | NoEncryption | GivenKey, Field(discriminator="kind")]
"""Second encryption of the authorization token, in the `2025-05-01-preview` protocol only."""


def key_for_copy(encryption: Encryption) -> SecretStr | None:
    match encryption:
        case GivenKey():
            return encryption.key
        case FreshKey():
            # The product's page gives no length.
            return SecretStr(secrets.token_urlsafe(32))
        case NoEncryption():
            return None
        case _:
            assert_never(encryption)


SAME_LOOK = 0.4  # Share of a probe period within which two looks of one observer count once, however densely it looks


class FailoverPolicy(Strict):
    """The guards of a failover that an outage asks for."""

    automatic: bool = Field(False, description="Fail over without asking; otherwise a proposal waits for approval.")
    prefer: tuple[Name, ...] = Field((), description="Preferred targets, in order; by default the plan's order.")
    probe_every: Duration = Field(timedelta(seconds=30), description="Time between two probes, as the watch runs.")
    quorum: int = Field(3, ge=1, le=20, description="Unhealthy observations in a row, of probes at different times.")
    # What is shorter is nobody's outage. A period may pass until it is seen at all, and the last look takes a while.
    minimum_outage: Duration = Field(timedelta(seconds=45), description="How long an outage must have lasted.")
    cool_down: Duration = Field(timedelta(hours=1), description="Minimum time between two failovers.")
    staleness: Duration = Field(
        timedelta(days=7), description="A copy this old, of a source that has changed since, prevents a failover."
    )
    missing: Literal["refuse", "serve_rest"] | None = Field(
        None,
        description="What to do if analyzers are missing or unusable at the target: refuse, or serve_rest, which "
        "leaves them out of the active map by name. By default serve_rest for an unplanned failover, and refuse "
        "for a planned one.",
    )
    approval_timeout: Duration = Field(
        timedelta(minutes=30),
        description="How long a proposal waits for its approval, and how long an approval counts.",
    )
    approvals: int = Field(
        1,
        ge=1,
        le=2,
        description="How many different persons a failover needs; with 2, the person who orders it counts as one.",
    )

    @model_validator(mode="after")
    def _nobody_approves_what_is_automatic(self) -> Self:
        if self.automatic and self.approvals > 1:
            raise ValueError(
                "has automatic: true and approvals: 2, but nobody approves an automatic failover: set automatic: "
                "false, so that a proposal waits for two persons, or leave out approvals"
            )
        return self

    @property
    def proof(self) -> timedelta:
        """How long an outage lasts at least, from the first failed look, before it is proved."""
        return max(self.minimum_outage, self.probe_every * SAME_LOOK * (self.quorum - 1))


def serves_rest(policy: FailoverPolicy, *, planned: bool) -> bool:
    """Say whether a failover leaves out what cannot be had at its target, and continues."""
    return policy.missing == "serve_rest" if policy.missing is not None else not planned


class SnapshotPolicy(Strict):
    """How many snapshots of a plan are kept, and how old the newest may be."""

    keep: int = Field(30, ge=1, le=1000, description="Newest snapshots that are always kept.")
    keep_for: Duration = Field(timedelta(days=90), description="Age up to which others are kept too.")
    # Two of the schedule's, and time for one to be taken.
    max_age: Duration = Field(timedelta(hours=13), description="Age of the newest from which a notification is sent.")


class ResidencyPolicy(Strict):
    """The targets that may lie outside the geography of their source."""

    allow: tuple[Name, ...] = Field(
        (), description="Targets that may lie outside the geography and the data zone of their source."
    )


OnExisting = Literal["refuse", "replace", "version"]  # What to do with an older copy, or with what is none
MissingDefaults = Literal["fail", "sync", "ignore"]  # What to do if the target does not serve an analyzer's models
Glob = Annotated[str, StringConstraints(min_length=1, max_length=256)]
TAG_FILTER = r"^[^=]{1,64}=.{1,256}$"
TagFilter = Annotated[str, StringConstraints(pattern=TAG_FILTER)]
TARGET_ID = r"^[a-zA-Z0-9._-]*\{id\}[a-zA-Z0-9._-]*$"
TargetId = Annotated[str, StringConstraints(pattern=TARGET_ID, max_length=64)]
IGNORE_RULE = r"^[^.]+(\.[^.]+)*$"
IgnoreRule = Annotated[str, StringConstraints(pattern=IGNORE_RULE, max_length=256)]


class RegionPair(Strict):
    """One source and the targets its analyzers are copied to."""

    source: Name = Field(description="Resource to copy from.")
    targets: tuple[Name, ...] = Field(min_length=1, description="Resources to copy to.")

    @model_validator(mode="after")
    def _targets_are_elsewhere(self) -> Self:
        if self.source in self.targets:
            raise ValueError(f"{self.source} cannot be its own target")
        return self


class Objectives(Strict):
    """How much may be lost, and how long a recovery may take."""

    rpo: Duration | None = Field(None, description="Recovery point objective, such as 24h.")
    rto: Duration | None = Field(None, description="Recovery time objective, such as 15m.")
    proof: Duration | None = Field(
        None, description="Age up to which a proof by document counts, such as 30d; needs samples."
    )


class RetryPolicy(Strict):
    """How often a step is tried, after the client's own retries of single calls."""

    attempts: int = Field(3, ge=1, le=20, description="Tries in all; 1 means no retry.")
    delays: tuple[Annotated[float, Field(ge=0, le=3600), BeforeValidator(parse_seconds)], ...] = Field(
        (1.0, 5.0),
        min_length=1,
        max_length=20,
        description="Seconds before each retry; the last one is for all that follow, too.",
    )
    jitter: float = Field(0.3, ge=0, le=1, description="Share of a delay that is random.")


class StepRetries(Strict):
    """A retry policy for each step of a copy."""

    authorize: RetryPolicy = Field(RetryPolicy(), description="Asking the source for a grant.")
    validate_deployments: RetryPolicy = Field(
        RetryPolicy(attempts=2, delays=(1.0,)), description="Checking the models at the target."
    )
    copy_: RetryPolicy = Field(
        RetryPolicy(delays=(2.0, 10.0)), alias="copy", description="Starting the copy at the target."
    )
    poll: RetryPolicy = Field(RetryPolicy(attempts=5, delays=(2.0, 5.0, 15.0)), description="Waiting for its end.")
    verify: RetryPolicy = Field(
        RetryPolicy(attempts=4, delays=(1.0, 2.0, 5.0)), description="Comparing the copy with its source."
    )

    # BaseModel has a method of the name copy, so the field cannot have it.
    model_config = ConfigDict(populate_by_name=True)


class CopyDeadlines(Strict):
    """How long a copy may take and how often it is polled; copies of the service take 2 to 9 s."""

    poll: Seconds = Field(600.0, gt=0, le=86_400, description="Seconds after which a running copy counts as hung.")
    first_interval: Seconds = Field(0.1, gt=0, le=3600, description="Shortest wait before a poll, in seconds.")
    longest_interval: Seconds = Field(60.0, gt=0, le=3600, description="Longest wait before a poll, in seconds.")

    @model_validator(mode="after")
    def _intervals_grow(self) -> Self:
        if self.longest_interval < self.first_interval:
            raise ValueError("longest_interval must not be shorter than first_interval")
        return self


class SampleBudget(Strict):
    """How many analyses of samples may be spent; each costs pages and tokens at the service."""

    run: int = Field(200, ge=1, le=100_000, description="Analyses in one run.")
    month: int = Field(2000, ge=1, le=1_000_000, description="Analyses in one calendar month, UTC.")


class SampleSettings(Strict):
    """The documents by which copies are proved, and how much is spent on that."""

    path: LocalPath | None = Field(
        None,
        description="Folder with one folder of documents for each analyzer, named by its id; without it, "
        "samples/PLAN/ in the vault.",
    )
    each: int = Field(5, ge=1, le=100, description="Samples of each analyzer that are analysed, by name.")
    runs: int = Field(2, ge=2, le=5, description="How often the source analyses each sample, to compare with itself.")
    margin: float = Field(
        0.1, ge=0, le=1, description="Share of fields by which a copy may agree less than its source does with itself."
    )
    at_once: int = Field(4, ge=1, le=20, description="Analyses at the same time at each resource.")
    deadline: Duration = Field(timedelta(minutes=10), description="How long one analysis may take.")
    budget: SampleBudget = Field(SampleBudget(), description="How many analyses may be spent.")
    failover: Seconds = Field(
        20.0, ge=0, le=300, description="How long the last check of a failover may take, in seconds; 0 leaves it out."
    )


def parse_encryption(value: object) -> object:
    """Turn `generate`, `none` and `{key: …}` into the form that the models have."""
    if value in ("generate", "none"):
        return {"kind": value}
    if isinstance(value, str):
        raise ValueError("must be generate, none or {key: ${NAME}}")  # noqa: TRY004 - pydantic reports ValueError only
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "given", **value}
    return value


class RecoveryPlan(Strict):
    """A plan's sources, targets and policies."""

    name: Name = Field(description="Name used on the command line and in reports.")
    pairs: tuple[RegionPair, ...] = Field(min_length=1, description="Sources with their targets.")
    include: tuple[Glob, ...] = Field(("*",), min_length=1, description="Globs on analyzer ids to copy.")
    exclude: tuple[Glob, ...] = Field((), description="Globs on analyzer ids to leave out.")
    tags: tuple[TagFilter, ...] = Field(
        (), description="Tags an analyzer must have, all of them, as key=value; the value may be a glob."
    )
    base: tuple[Glob, ...] = Field(
        ("*",), min_length=1, description="Globs on base analyzers, such as prebuilt-document."
    )
    modified_since: Since | None = Field(
        None, description="Only analyzers that changed since a date such as 2026-01-31, or within a time such as 30d."
    )
    target_id: TargetId = Field(
        "{id}", description="Id of a copy, such as {id}-dr; an analyzer that others refer to keeps its id."
    )
    on_existing: OnExisting = Field("refuse", description="What to do with analyzers that a target already has.")
    missing_defaults: MissingDefaults = Field(
        "fail", description="What to do if a target does not serve an analyzer's models."
    )
    deployments: dict[Name, DeploymentOverrides] = Field(
        default_factory=dict, description="Deployments to use instead of the analyzer's own, by target."
    )
    encryption: Annotated[Encryption, BeforeValidator(parse_encryption)] = Field(
        FreshKey(), description="Second encryption of the authorization token."
    )
    objectives: Objectives = Field(Objectives(), description="Recovery objectives.")
    retries: StepRetries = Field(StepRetries(), description="Retries of each step.")
    deadlines: CopyDeadlines = Field(CopyDeadlines(), description="Deadline and pace of polling.")
    ignore: tuple[IgnoreRule, ...] = Field(
        (), description="Dotted paths that do not count as a difference, such as tags.projectId."
    )
    residency: ResidencyPolicy = Field(ResidencyPolicy(), description="Where copies may be kept.")
    failover: FailoverPolicy = Field(FailoverPolicy(), description="Guards of a failover.")
    snapshots: SnapshotPolicy = Field(SnapshotPolicy(), description="How many snapshots are kept.")
    samples: SampleSettings | None = Field(
        None, description="Documents by which copies are proved; without it nothing is analysed."
    )

    def relative_to(self, folder: Path) -> Self:
        """Take relative paths as seen from a folder."""
        if self.samples is None or self.samples.path is None:
            return self
        samples = self.samples.model_copy(update={"path": folder / self.samples.path})
        return self.model_copy(update={"samples": samples})

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(sorted({target for pair in self.pairs for target in pair.targets}))

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(sorted({pair.source for pair in self.pairs} | set(self.targets)))

    def overrides(self, target: str) -> DeploymentOverrides:
        return self.deployments.get(target, DeploymentOverrides())

    def leaving(self, primary: Resource, target: Resource) -> str:
        """Say why data of a primary must not be kept at a target, and what allows it; empty where it may."""
        if target.name in self.residency.allow or primary.why_unusable or target.why_unusable:
            return ""
        here, there = zone_of(primary.region), zone_of(target.region)
        if not here or not there or here == there:
            return ""
        stays, goes = (f"{geography_of(each.region)} ({zone_of(each.region)})" for each in (primary, target))
        cause = f"{target.name} is in {goes}, and data of {primary.name} stays in {stays}"
        return f"{cause}. If that is allowed, add residency: {{allow: [{target.name}]}} to plan {self.name}."

    def allowing(self, target: str) -> Self:
        """Give the plan with a target that may lie anywhere."""
        allowed = ResidencyPolicy(allow=(*self.residency.allow, target))
        return self.model_copy(update={"residency": allowed})

    @model_validator(mode="after")
    def _names_each_pair_once_and_only_targets(self) -> Self:
        seen = Counter((pair.source, target) for pair in self.pairs for target in pair.targets)
        twice = [f"{source} to {target}" for (source, target), times in seen.items() if times > 1]
        if twice:
            raise ValueError(f"names a pair twice: {', '.join(twice)}")
        named = {"deployments are given for": self.deployments, "failover prefers": self.failover.prefer}
        for what, names in named.items():
            for name in names:
                if name not in self.targets:
                    near = nearest(name, self.targets)
                    raise ValueError(f"{what} {name}, which is not a target of this plan: {near}")
        return self
