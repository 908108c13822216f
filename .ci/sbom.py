"""Names the release in its SBOM, and keeps only its links to source code: others may name an index of this machine.

python .ci/sbom.py dist/standby.cdx.json VERSION
"""

import json
import sys
from pathlib import Path
from typing import Any


def complete(bom: dict[str, Any], version: str) -> None:
    """Give the root component its version; keep links to source code only."""
    root = bom["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/{root['name']}@{version}"}
    for component in (root, *bom["metadata"]["tools"]["components"], *bom["components"]):
        references = component.get("externalReferences", [])
        component["externalReferences"] = [each for each in references if each["type"] == "vcs"]


def main() -> None:
    file, version = Path(sys.argv[1]), sys.argv[2]
    bom = json.loads(file.read_text(encoding="utf-8"))
    complete(bom, version)
    file.write_text(json.dumps(bom, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
