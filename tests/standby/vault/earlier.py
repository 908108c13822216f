"""Vaults as earlier versions of Standby wrote them, copied to where a test may change them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from standby.emulator.config import EmulatorConfig, load_emulator_config

FORMATS = Path(__file__).parent / "formats"

KEY = "a key for tests only"
"""Signs what is in `whole`."""

PLAN = "invoices"

EARLIER_STORIES = ("whole", "serving", "switching", "failing-back")


def laid_out(story: str, folder: Path, version: str = "v1") -> Path:
    """Copy a story's folder, and give the path of its configuration."""
    shutil.copytree(FORMATS / version / story, folder, dirs_exist_ok=True)
    return folder / "standby.yaml"


def resources_of(story: str, version: str = "v1") -> EmulatorConfig:
    """Give what the resources of a story held at its end."""
    return load_emulator_config(FORMATS / version / story / "emulator.json")


NOWHERE = {
    "VAULT_KEY": KEY,
    **{f"{name}_ENDPOINT": f"http://127.0.0.1:{port}" for name, port in (("EAST", 7), ("WEST", 9), ("NORTH", 13))},
    **{f"{name}_KEY": "not used" for name in ("EAST", "WEST", "NORTH")},
    **{
        f"{name}_ID": f"/subscriptions/0/resourceGroups/r/providers/Microsoft.CognitiveServices/accounts/{name}"
        for name in ("EAST", "WEST", "NORTH")
    },
}
"""The environment of a configuration whose resources are not called."""


def stored_files(vault: Path) -> dict[str, Path]:
    """Give the files that have a format of ours: definitions are the service's, and pages are for people."""
    return {
        str(file.relative_to(vault)): file
        for file in sorted(vault.rglob("*"))
        if file.suffix in {".json", ".jsonl", ".sig"} and "replaced" not in file.parts
    }


def formats_in(file: Path) -> set[Any]:
    """Give the numbers that a file says, one a line where it has lines; `None` stands for none."""
    text = file.read_text(encoding="utf-8")
    parts = text.splitlines() if file.suffix == ".jsonl" else [text]
    return {json.loads(part).get("format") for part in parts}


def renumbered(file: Path, number: Any) -> None:
    """Let a file, or each of its lines, say another number; what has a checksum is as whole as before."""
    lines = file.suffix == ".jsonl"
    text = file.read_text(encoding="utf-8")
    changed = [_with_format(json.loads(part), number) for part in (text.splitlines() if lines else [text])]
    file.write_text("".join(f"{each}\n" if lines else each for each in changed), encoding="utf-8")


def replaced_in_list(file: Path, old: str, new: str) -> None:
    """Replace a digest in a list of snapshots, which stays whole."""
    lines = [json.loads(line.replace(old, new)) for line in file.read_text(encoding="utf-8").splitlines()]
    file.write_text("".join(f"{_summed(line)}\n" for line in lines), encoding="utf-8")


def _with_format(found: dict[str, Any], number: Any) -> str:
    return _summed({**found, "format": number})


def _summed(found: dict[str, Any]) -> str:
    summed = found.pop("sum", None) is not None
    text = json.dumps(found, separators=(",", ":"))
    checksum = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f'{text[:-1]},"sum":"{checksum}"}}' if summed else text
