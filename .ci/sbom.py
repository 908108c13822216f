"""Names the release in its SBOM, and leaves out of it where this machine took its packages from.

python .ci/sbom.py dist/standby.cdx.json VERSION
"""

import json
import sys
from pathlib import Path
from typing import Any

LOCAL = ("file:", "https://pypi.org", "https://files.pythonhosted.org")


def complete(bom: dict[str, Any], version: str) -> None:
    """Give the root component its version; drop references to files and registries."""
    root = bom["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/{root['name']}@{version}"}
    for component in (root, *bom["components"]):
        references = component.get("externalReferences", [])
        component["externalReferences"] = [each for each in references if not each["url"].startswith(LOCAL)]


def main() -> None:
    file, version = Path(sys.argv[1]), sys.argv[2]
    bom = json.loads(file.read_text(encoding="utf-8"))
    complete(bom, version)
    file.write_text(json.dumps(bom, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
