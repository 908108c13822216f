"""What the tests forgive, and what they do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[1]

LEAKS = """
def test_leaks() -> None:
    socket.socket()
"""

USES_PREFECT = """
@pytest.mark.prefect
def test_uses_prefect() -> None:
    pass
"""

LEAKS_AFTER_THE_LAST_TEST = """
kept = []

def test_leaks_later() -> None:
    made = socket.socket()
    kept.append((made, kept))

def test_lets_go() -> None:
    gc.disable()
    del globals()["kept"]
"""

LEAVES_SOMETHING_ELSE = """
class Careless:
    def __del__(self) -> None:
        raise ValueError("careless")

def test_leaves_something_else() -> None:
    Careless()
"""


def run(folder: Path, *parts: str) -> tuple[int, str]:
    """Run tests of their own under the settings of ours, in a process of their own."""
    file = folder / "test_leaks.py"
    file.write_text("".join(("import gc\nimport socket\n\nimport pytest\n", *parts)), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # Only the plugins that our settings name: to load them all takes longer than the rest.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    plugins = ("tests.leftovers", "pytest_asyncio.plugin", "pytest_timeout", "no:cacheprovider")
    options = ("-c", str(ROOT / "pyproject.toml"), *(option for plugin in plugins for option in ("-p", plugin)))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_a_socket_that_is_left_open_fails_a_run_without_prefect(tmp_path: Path) -> None:
    status, said = run(tmp_path, LEAKS)

    assert status == 1
    assert "PytestUnraisableExceptionWarning: Exception ignored in: <socket.socket" in said


def test_before_prefect_was_used_it_fails_too(tmp_path: Path) -> None:
    status, said = run(tmp_path, LEAKS, USES_PREFECT)

    assert status == 1
    assert "1 failed, 1 passed" in said


def test_after_prefect_was_used_it_may_be_its_own_and_is_forgiven(tmp_path: Path) -> None:
    status, said = run(tmp_path, USES_PREFECT, LEAKS)

    assert (status, "2 passed" in said) == (0, True)


def test_after_prefect_was_used_it_is_forgiven_at_the_end_too(tmp_path: Path) -> None:
    status, _ = run(tmp_path, USES_PREFECT, LEAKS_AFTER_THE_LAST_TEST)
    without, said = run(tmp_path, LEAKS_AFTER_THE_LAST_TEST)

    assert status == 0
    assert without != 0
    assert "Exception ignored in: <socket.socket" in said


def test_anything_else_that_is_left_fails_after_prefect_as_well(tmp_path: Path) -> None:
    status, said = run(tmp_path, USES_PREFECT, LEAVES_SOMETHING_ELSE)

    assert status == 1
    assert "Exception ignored in: <function Careless.__del__" in said
