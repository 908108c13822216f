"""The demo: what runs for it, and its scenes. Analyzers are replicated, a region is lost, then recovered."""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import typer
from pydantic import BaseModel

from standby.cli import shown
from standby.cli.compare import compare_lines
from standby.cli.drill import drill_lines
from standby.cli.failback import divergence_lines, failback_lines
from standby.cli.failover import decision_lines
from standby.cli.output import Output
from standby.cli.records import verify_lines
from standby.cli.replicate import drift_lines, report_lines
from standby.cli.run import Exit
from standby.cli.snapshots import taken_lines
from standby.clock import SystemClock
from standby.config.configuration import Configuration, load_configuration
from standby.config.resource import PREVIEW_2025, ApiVersion
from standby.config.sinks import FileSink
from standby.document import JsonValue
from standby.emulator.config import load_emulator_config
from standby.emulator.serve import Emulator, running
from standby.errors import GuardRefused, StandbyError
from standby.fencing import FailoverUnderWay, Fence, hold_fence
from standby.orchestrator import Orchestrator, load_orchestrator, run_flow
from standby.recovery.activation.sinks import Activation, ActiveMaps
from standby.recovery.audit import verify_audit
from standby.recovery.context import open_recovery
from standby.recovery.decision.record import explain
from standby.recovery.drill.findings import DrillReport
from standby.recovery.failback.report import FailbackReport
from standby.recovery.failover.report import CommitReport
from standby.recovery.probe import WatchReport
from standby.recovery.proof.records import CompareReport, Verdict
from standby.recovery.snapshots.take import SnapshotTaken
from standby.replication.items import Selection, Status
from standby.replication.pacing import looks
from standby.replication.replicate import open_run, survey
from standby.replication.report import Report
from standby.service.client import ContentUnderstandingClient
from standby.vault.documents import once_free, parse_stored

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Stage:
    """Everything that runs; the configuration takes `variables`, and the emulator takes faults at `control`."""

    file: Path
    variables: Mapping[str, str]
    control: str
    ui: str
    orchestrator: Orchestrator

    def configuration(self, api_version: ApiVersion = "2025-11-01") -> Configuration:
        """Give the configuration, with every resource set to one api-version."""
        return load_configuration(self.file, {**self.variables, "API_VERSION": api_version})


@asynccontextmanager
async def set_stage(folder: Path) -> AsyncIterator[Stage]:
    """Start everything, and stop it at the end; all that is written goes to the folder."""
    orchestrator = load_orchestrator()
    file = folder / "standby.yaml"
    shutil.copyfile(HERE / "standby.yaml", file)
    samples = folder / "samples" / "invoice"
    samples.mkdir(parents=True)
    for number in range(1, 6):
        (samples / f"{number}.pdf").write_bytes(b"%%PDF-1.4\n<< /Type /Page >>\n(Invoice %d) Tj\n" % number)
    async with (
        running(load_emulator_config(HERE / "emulator.yaml")) as emulator,
        orchestrator.own_server(folder / "prefect") as ui,
    ):
        variables = _variables(emulator)
        # This process becomes what it would be in Azure: one that has a managed identity and no other.
        for name in [name for name in os.environ if name.startswith("AZURE_")]:
            del os.environ[name]
        os.environ.update({name: value for name, value in variables.items() if name.startswith("IDENTITY_")})
        stage = Stage(file, variables, emulator.control, ui, orchestrator)
        async with orchestrator.own_workers(folder):
            # Not before: Prefect writes the environment of a worker into a file for each run.
            os.environ.update(variables)
            await orchestrator.bootstrap(stage.configuration())
            # The story starts the flows itself, and this machine may have few cores.
            await orchestrator.pause_schedules()
            yield stage


def _variables(emulator: Emulator) -> dict[str, str]:
    found = {
        "API_VERSION": "2025-11-01",
        "ARM_ENDPOINT": emulator.arm,
        "VAULT_KEY": secrets.token_urlsafe(32),
        "IDENTITY_ENDPOINT": emulator.identity.endpoint,
        "IDENTITY_HEADER": emulator.identity.header,
    }
    for name, served in emulator.resources.items():
        found[f"{name.upper()}_ENDPOINT"] = served.endpoint
        found[f"{name.upper()}_ID"] = served.resource_id
        found[f"{name.upper()}_KEY"] = served.key
    return found


M = TypeVar("M", bound=BaseModel)

PLAN = "documents"
EDITED = "contract"  # Analyzer that somebody edits while the primary serves
EDITED_AWAY = "receipt"  # Analyzer that somebody edits while the standby serves
BLOCKED = 1  # Copies that are blocked: north has no deployment of the model that one analyzer needs
PATIENCE = 90.0  # Seconds that the automation has for its failover


class DemoFailed(StandbyError):
    def __init__(self, what: str) -> None:
        super().__init__(f"The demo failed: {what}", "Run standby demo -v, and report what it shows")


@dataclass(frozen=True)
class Story:
    """Plays the demo, and stops with `DemoFailed` where something does not come out as it must."""

    stage: Stage
    output: Output
    configuration: Configuration

    async def play(self) -> dict[str, object]:
        self.output.result(f"The Prefect UI is at {self.stage.ui} until the demo ends.")
        analyzers = len((await self._survey()).items) // 2
        runs = await self._replication(analyzers)
        outage = {
            **await self._proof(),
            **await self._before_the_outage(),
            **await self._outage(),
            **await self._failback(),
        }
        await self._end(analyzers)
        return {"runs": runs, "outage": outage}

    async def _replication(self, analyzers: int) -> list[Report]:
        copies = 2 * analyzers - BLOCKED
        self._scene(f"1. First run: east has {analyzers} analyzers, west and north have none")
        first = await self._replicate()
        _must(first, succeeded=copies, blocked=BLOCKED)
        self.output.result("north has no model for insurance-claim: the copy would be ready, and fail on a document.")
        self.output.result("The analyzers that a router refers to were copied before the router.")
        self.output.result("One response was lost. Standby checked the target, and did not copy a second time.")

        self._scene("2. Second run: nothing is left to do")
        second = await self._replicate()
        _must(second, skipped=copies, blocked=BLOCKED)

        self._scene(f"3. Somebody adds a field to {EDITED} in the east: standby check finds it")
        await self._edit("east", EDITED, "GoverningLaw", "string", "Law that governs the contract")
        self.output.results(drift_lines(await self._survey(), verbose=False))

        self._scene("4. Third run, which may replace older copies")
        third = await self._replicate(Selection((EDITED,), on_existing="replace"))
        _must(third, succeeded=2)

        self._scene("5. Fourth run, with the 2025-05-01-preview protocol and encrypted tokens")
        fourth = await self._replicate(configuration=self.stage.configuration(PREVIEW_2025))
        _must(fourth, succeeded=copies, blocked=BLOCKED)
        return [first, second, third, fourth]

    async def _proof(self) -> Mapping[str, BaseModel]:
        self._scene("6. Every copy is in sync, and one answers differently: documents show it")
        fault: JsonValue = {"kind": "answers_differently", "fields": 0.6}
        await self._control("faults", resource="north", call="analyze", analyzer="invoice", times=None, fault=fault)
        compared = await self._flow(CompareReport, "compare")
        self.output.results(compare_lines(compared))
        differ = [(it.analyzer, it.target) for it in compared.items if it.verdict is Verdict.DIFFERS]
        _expect(differ == [("invoice", "north")], f"these copies answered differently: {differ}")
        _expect(not compared.left, "a result was left at the service")
        return {"compare": compared}

    async def _before_the_outage(self) -> Mapping[str, BaseModel]:
        self._scene("7. While everything works: a signed snapshot, and a failover drill with temporary ids")
        taken = await self._flow(SnapshotTaken, "snapshot")
        self.output.results(taken_lines(taken))
        drilled = await self._flow(DrillReport, "drill", to="west")
        self.output.results(drill_lines(drilled))
        _expect(drilled.passed, "the drill did not pass")
        return {"snapshot": taken, "drill": drilled}

    async def _outage(self) -> Mapping[str, BaseModel]:
        self._scene("8. At night the east fails, while nobody is at work")
        await self._control("outages", resource="east", kind="unavailable")
        active = await self._watch_until_switched()
        where = self._active_file.name
        self.output.result(f"The map now sends applications to {_serving(active)} (epoch {active.epoch}, {where}).")
        await self._show_decision()
        try:
            await self._replicate()
        except GuardRefused as error:
            self.output.result(f"The next hourly replication is refused: {error}")
        else:
            raise DemoFailed("a replication from the failed region was not refused")
        return {"active": active}

    async def _failback(self) -> Mapping[str, BaseModel]:
        self._scene(f"9. In the morning the failover is committed, and {EDITED_AWAY} is edited in the west")
        committed = await self._flow(CommitReport, "commit")
        await self._edit("west", EDITED_AWAY, "Tip", "number", "Tip that was paid")

        self._scene("10. The east is back: failback, with the edit")
        await self._control("outages", resource="east", kind="none")
        back = await self._flow(FailbackReport, "failback")
        if back.divergence is not None:
            self.output.results(divergence_lines(back.divergence, verbose=False))
        self.output.results(failback_lines(back))
        _expect(back.complete, "the failback is not complete")
        after = await self._replicate(Selection(targets=("west",)))
        _expect(after.complete and not after.totals[Status.SUCCEEDED], "something was left to copy after the failback")
        async with open_recovery(self.configuration, PLAN) as context:
            checked = await verify_audit(context.vault, PLAN, context.signer)
            self.output.results(verify_lines({PLAN: checked}, context.signer.key_id if context.signer else ""))
        _expect(not checked.problems, "the audit log is not complete")
        return {"commit": committed, "failback": back}

    async def _end(self, analyzers: int) -> None:
        self._scene("Copies that the regions counted")
        async with httpx.AsyncClient() as http:
            stats = (await http.get(f"{self.stage.control}/stats")).json()["resources"]
        for name in self.configuration.plan(PLAN).targets:
            seen, limit = stats[name], self.configuration.resource(name).max_concurrent_copies
            most = seen["max_copies_in_flight"]
            _expect(most <= limit, f"{name} had {most} copies at the same time")
            copies = sum(seen["copies_accepted"].values())
            self.output.result(f"{name}: {copies} copies accepted, at most {most} at the same time (limit {limit}).")
        self.output.result("")
        self.output.result(
            f"Done: {analyzers} analyzers have copies in two regions; one region was lost and recovered. To look "
            f"around in Prefect, run standby demo --keep: Runs → replicate-{PLAN} shows authorize, "
            "validate-deployments, copy, poll and verify of every copy; Runs → failover-… and watch-… show what "
            "happened at night; Artifacts has every report."
        )

    def _scene(self, title: str) -> None:
        self.output.result("")
        self.output.result(title)

    async def _survey(self) -> Any:
        async with open_run(self.configuration, PLAN) as context:
            return await survey(context, Selection())

    async def _replicate(
        self, selection: Selection | None = None, *, configuration: Configuration | None = None
    ) -> Report:
        with shown.progress(self.output.stderr, quiet=self.output.quiet) as on_progress:
            wanted, selection = configuration or self.configuration, selection or Selection()
            replicate = self.stage.orchestrator.replicate
            ended = await replicate(wanted, PLAN, selection, apply=None, on_progress=on_progress)
        if ended.interrupted:
            raise asyncio.CancelledError
        self.output.results(report_lines(ended.report))
        return ended.report

    async def _flow(self, report: type[M], flow: str, **parameters: JsonValue) -> M:
        return await run_flow(report, self.configuration, PLAN, flow, parameters)

    async def _edit(self, resource: str, analyzer: str, field: str, kind: str, description: str) -> None:
        async with ContentUnderstandingClient(self.configuration.resource(resource)) as client:
            edited = (await client.get_analyzer(analyzer)).to_json()
            schema: Any = edited["fieldSchema"]
            schema["fields"][field] = {"type": kind, "method": "extract", "description": description}
            started = await client.put_analyzer(analyzer, edited, allow_replace=True)
            async for _ in looks(PATIENCE, SystemClock()):
                if (await client.poll(started.operation_url)).operation.done:
                    return

    async def _control(self, path: str, **order: JsonValue) -> None:
        async with httpx.AsyncClient() as http:
            (await http.post(f"{self.stage.control}/{path}", json=order)).raise_for_status()

    async def _watch_until_switched(self) -> Activation:
        """Watch, more often than the schedule would, until the automation's failover has ended."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        noticed = False
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    east = (await self._flow(WatchReport, "watch")).observations["east"]
                    if not noticed and east.healthy is False:
                        noticed = True
                        self.output.result(f"The watch sees it after {clock() - begun:.1f} s: {east.summary}.")
                        self.output.result(
                            "Its events start failover/on-outage on a worker, which probes the region itself."
                        )
                    active = await self._active()
                    if active is not None and _serving(active) == "west":
                        self.output.result(f"west serves {clock() - begun:.1f} s after the east failed.")
                        return active
                    await asyncio.sleep(1.0)
        except TimeoutError:
            raise DemoFailed(f"there was no failover within {PATIENCE:.0f} s") from None

    async def _active(self) -> Activation | None:
        try:
            content = await asyncio.to_thread(self._active_file.read_bytes)
        except FileNotFoundError:
            return None
        return parse_stored(str(self._active_file), content, ActiveMaps).plans.get(PLAN)

    @property
    def _active_file(self) -> Path:
        return next(sink.path for sink in self.configuration.activation if isinstance(sink, FileSink))

    async def _show_decision(self) -> None:
        """Show the decision as it can be read in the morning, once the flow has finished with the fence."""
        async with open_recovery(self.configuration, PLAN) as context:
            checked = await verify_audit(context.vault, PLAN, context.signer)
            decided = [line for line in checked.lines if line.action == "failover.decided"]
            _expect(bool(decided), "the decision is not in the audit log")
            explanation = await explain(context.vault, str(decided[-1].facts["decision"]), context.signer)
            self.output.results(decision_lines(explanation.record.decision, explanation.record.id))
            _expect(explanation.same and not explanation.problems, "the decision cannot be replayed")

            async def at_rest() -> Fence:
                async with hold_fence(context.vault, context.plan) as held:
                    return held.fence

            # The map was published before the failover had ended.
            fence = await once_free(context.clock, at_rest, patience=PATIENCE, busy=FailoverUnderWay)
        serving = fence.assignments["east"].active
        _expect(serving == "west", f"the fence says {serving}")


def _serving(active: Activation) -> str:
    east = active.sources["east"]
    return "nobody" if east is None else east.resource


def _expect(right: bool, wrong: str) -> None:
    if not right:
        raise DemoFailed(wrong)


def _must(report: Report, **expected: int) -> None:
    wanted = {status: expected.get(status.value, 0) for status in Status}
    _expect(dict(report.totals) == wanted, f"expected {expected}, got {dict(report.totals)}")


async def command(
    output: Output,
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running until Ctrl-C, to look around.")] = False,
) -> Exit:
    """Show how analyzers are copied to two other regions, lose their region, and are recovered. It needs no Azure."""
    with tempfile.TemporaryDirectory(prefix="standby-demo-", ignore_cleanup_errors=True) as folder:
        output.result("Starting three emulated regions, a Prefect server and a worker; this takes about 30 s.")
        async with set_stage(Path(folder)) as stage:
            output.document(await Story(stage, output, stage.configuration()).play())
            if keep:
                await _wait(stage, output)
    return Exit.DONE


async def _wait(stage: Stage, output: Output) -> None:
    output.say("")
    output.say("Everything keeps running until Ctrl-C. In another terminal:")
    for name, value in {**stage.variables, "PREFECT_API_URL": f"{stage.ui}/api"}.items():
        output.say(f"export {name}={value}", 2)
    output.say(f".venv/bin/standby -c {stage.file} check documents", 2)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        output.say("Stopping.")
