"""The analyzers that every resource has from the start.

Inferred: the ids. REFERENCE knows that there are about 88; these are those of the documentation and of the
sibling service Document Intelligence, and their bodies are cut to the bones to keep listings small.
"""

from __future__ import annotations

from collections.abc import Mapping

from emulator.analyzers import Stored

_GENERAL = (
    "audio audioSearch callCenter document documentFields documentFieldSchema documentSearch image "
    "imageSearch layout layoutWithFigures read video videoSearch videoShot"
)
_BUSINESS = (
    "bankStatement.us check.us contract creditCard creditMemo healthInsuranceCard.us idDocument "
    "idDocument.generic idDocument.passport invoice marriageCertificate.us payStub.us procurement "
    "purchaseOrder receipt receipt.generic receipt.hotel utilityBill"
)
_MORTGAGE = "1003 1004 1005 1008 closingDisclosure"
_TAX = (
    "1040 1040Schedule1 1040Schedule2 1040Schedule3 1040Schedule8812 1040ScheduleA 1040ScheduleB "
    "1040ScheduleC 1040ScheduleD 1040ScheduleE 1040ScheduleEIC 1040ScheduleF 1040ScheduleH 1040ScheduleJ "
    "1040ScheduleR 1040ScheduleSE 1040Senior 1095A 1095C 1098 1098E 1098T 1099A 1099B 1099C 1099CAP "
    "1099Combo 1099DIV 1099G 1099H 1099INT 1099K 1099LS 1099LTC 1099MISC 1099NEC 1099OID 1099PATR 1099Q "
    "1099QA 1099R 1099S 1099SA 1099SB 1099SSA w2 w4"
)

_IDS = sorted(
    [f"prebuilt-{name}" for name in f"{_GENERAL} {_BUSINESS}".split()]
    + ["prebuilt-mortgage.us", "prebuilt-tax.us", "prebuilt-tax.us.1099"]
    + [f"prebuilt-mortgage.us.{form}" for form in _MORTGAGE.split()]
    + [f"prebuilt-tax.us.{form}" for form in _TAX.split()]
)


def _prebuilt(analyzer_id: str) -> Stored:
    return Stored(
        {
            "analyzerId": analyzer_id,
            "description": f"Prebuilt analyzer {analyzer_id}.",
            "createdAt": "2025-11-01T00:00:00Z",
            "lastModifiedAt": "2025-11-01T00:00:00Z",
            "config": {},
            "warnings": [],
            "status": "ready",
            "processingLocation": "geography",
            "models": {},
        }
    )


PREBUILT_ANALYZERS: Mapping[str, Stored] = {analyzer_id: _prebuilt(analyzer_id) for analyzer_id in _IDS}
"""In alphabetical order; the same objects serve every resource."""
