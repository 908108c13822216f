"""Three thousand copies by workers, with a Prefect server on PostgreSQL and Redis messaging."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.cluster.services import postgres, prefect_server, process, redis, wait_for
from tests.conftest import DEPLOYMENTS, analyzer
from tests.patience import PATIENCE

ANALYZERS = 1500
TARGETS = ("west", "north")
STEPS = 5
WORKERS = 2
COPIES_AT_ONCE = 10
SERVICE = 3.0
"""Seconds that a copy takes, or up to a fifth less or more."""
IDEAL = ANALYZERS * SERVICE / COPIES_AT_ONCE
"""Seconds that a run takes in which nothing else costs anything."""
SECONDS = 3600.0
"""What the slowest machine may take; a quiet one needs a tenth of it."""


def emulator_file(folder: Path) -> Path:
    """Say what to emulate: every tenth analyzer routes to three that come before it."""
    analyzers = [
        analyzer(name(number), *(name(number - back) for back in (1, 2, 3)) if number % 10 == 9 else ())
        for number in range(ANALYZERS)
    ]
    served = {"deployments": DEPLOYMENTS, "defaults": {entry["name"]: entry["name"] for entry in DEPLOYMENTS}}
    file = folder / "emulator.yaml"
    resources = {
        "east": {"region": "eastus", "analyzers": analyzers, **served},
        **{target: {"region": f"{target}us", **served} for target in TARGETS},
    }
    # JSON is YAML, and much faster to read.
    file.write_text(
        json.dumps({"service_time": SERVICE, "service_spread": 0.2, "resources": resources}), encoding="utf-8"
    )
    return file


def configuration_file(folder: Path, resources: dict[str, Any]) -> Path:
    document = {
        "resources": {
            resource: {
                "endpoint": found["endpoint"],
                "region": found["region"],
                "resource_id": found["resource_id"],
                "credentials": {"kind": "key", "key": f"${{{resource.upper()}_KEY}}"},
                "arm_endpoint": "",
                "max_concurrent_copies": COPIES_AT_ONCE,
            }
            for resource, found in resources.items()
        },
        "plans": {
            "p": {
                "pairs": [{"source": "east", "targets": list(TARGETS)}],
                "deadlines": {"poll": 120},
            }
        },
        "vault": {"path": str(folder / "vault")},
    }
    file = folder / "standby.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


def name(number: int) -> str:
    return f"analyzer-{number:04}"


def announced(log: Path) -> dict[str, Any]:
    lines = log.read_text().splitlines()
    found: dict[str, Any] = json.loads(lines[0]) if lines else {}
    return found


class Api:
    """The Prefect server's own API, as any client has it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=PATIENCE)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()

    def post(self, path: str, body: object) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()

    def pause_schedules(self) -> None:
        """Leave the workers to the run: a watch would start every half minute."""
        for deployment in self.post("/deployments/filter", {}):
            if deployment["schedules"]:
                paused = self._http.post(f"/deployments/{deployment['id']}/pause_deployment")
                paused.raise_for_status()

    def chunks(self, parent: str) -> list[dict[str, Any]]:
        body = {"flow_runs": {"parent_flow_run_id": {"any_": [parent]}}}
        found: list[dict[str, Any]] = self.post("/flow_runs/filter", body)
        return found

    def runs_of(self, deployment: str) -> list[dict[str, Any]]:
        body = {"flow_runs": {"deployment_id": {"any_": [deployment]}}}
        found: list[dict[str, Any]] = self.post("/flow_runs/filter", body)
        return found

    def task_runs(self, flow_runs: list[str], state: str) -> int:
        body = {
            "flow_runs": {"id": {"any_": flow_runs}},
            "task_runs": {"state": {"type": {"any_": [state]}}},
        }
        counted: int = self.post("/task_runs/count", body)
        return counted


@pytest.mark.cluster
@pytest.mark.timeout(SECONDS + 2 * PATIENCE)
def test_three_thousand_copies_by_two_workers_are_all_made_once_and_all_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()

    def tell(told: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"[{time.monotonic() - begun:5.0f} s] {told}\n")
            sys.stdout.flush()

    with ExitStack() as stack:
        enter = stack.enter_context
        database = enter(postgres(tmp_path / "postgres.log"))
        environment = enter(prefect_server(tmp_path, database, enter(redis(tmp_path))))
        tell("PostgreSQL, Redis and the Prefect server are up")
        emulate = [sys.executable, "-m", "standby", "-c", str(emulator_file(tmp_path)), "emulator"]
        enter(process(emulate, tmp_path / "emulator.log", environment))
        emulator = wait_for("emulator", lambda: announced(tmp_path / "emulator.log"))
        environment |= {f"{each.upper()}_KEY": found["key"] for each, found in emulator["resources"].items()}
        file = configuration_file(tmp_path, emulator["resources"])
        subprocess.run(
            [sys.executable, "-m", "standby", "-c", str(file), "bootstrap"],
            env=environment,
            check=True,
            timeout=PATIENCE,
        )
        environment["PREFECT_WORKER_QUERY_SECONDS"] = "2"
        for number in range(WORKERS):
            work = ["worker", "start", "--pool", "standby", "--name", f"worker-{number}", "--limit", "3"]
            log = tmp_path / f"worker-{number}.log"
            enter(process([sys.executable, "-m", "prefect", *work], log, environment))
        api = Api(environment["PREFECT_API_URL"])
        stack.callback(api.close)
        scheduled = api.get("/deployments/name/replicate/scheduled")["id"]
        wait_for("run that a schedule starts", lambda: api.runs_of(scheduled))
        api.pause_schedules()
        deployment = api.get("/deployments/name/replicate/manual")["id"]
        asked = {"parameters": {"plan": "p", "dispatch": "workers"}}
        parent = api.post(f"/deployments/{deployment}/create_flow_run", asked)["id"]
        tell("asked for the run")

        def accepted(target: str) -> dict[str, Any]:
            stats: dict[str, Any] = httpx.get(f"{emulator['control']}/stats").json()["resources"][target]
            return stats

        told = 0

        def ended() -> dict[str, Any] | None:
            nonlocal told
            run: dict[str, Any] = api.get(f"/flow_runs/{parent}")
            copies = sum(len(accepted(target)["copies_accepted"]) for target in TARGETS)
            if copies >= told + 300:
                told = copies
                states = sorted(chunk["state_name"] for chunk in api.chunks(parent))
                tell(f"{copies} copies; chunks: {', '.join(states)}")
            return run if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

        run = wait_for("end of the run", ended, SECONDS)
        took = run["total_run_time"]
        tell(
            f"{run['state_name']}: {run['state']['message']}, "
            f"in {took:.0f} s, {took / IDEAL:.2f} × the ideal {IDEAL:.0f}"
        )
        chunks = api.chunks(parent)
        assert run["state_name"] == "Completed", run["state"]["message"]
        assert len(chunks) == 2 * ANALYZERS // 250
        flow_runs = [chunk["id"] for chunk in chunks]
        wanted = len(TARGETS) * ANALYZERS * STEPS
        # The server writes them down later than they happen, the later the fewer cores it has.
        wait_for("record of every task run", lambda: api.task_runs(flow_runs, "COMPLETED") >= wanted, 400)
        tell(f"{wanted} task runs are recorded as completed")
        assert api.task_runs(flow_runs, "COMPLETED") == wanted
        for target in ("east", *TARGETS):
            stats = accepted(target)
            most = stats["max_copies_in_flight"], stats["most_operations_in_a_minute"]
            tell(f"{target}: at most {most[0]} copies in flight and {most[1]} calls in a minute")
            assert most[0] <= COPIES_AT_ONCE
            assert most[1] <= 3000
            assert "429" not in stats["statuses"]
            copies = {} if target == "east" else {name(number): 1 for number in range(ANALYZERS)}
            assert stats["copies_accepted"] == copies
