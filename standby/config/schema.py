"""The JSON schema of standby.yaml, by which editors complete and check it: made of the models that read the file."""

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from standby.config.configuration import Configuration
from standby.config.durations import WRITTEN, format_duration, parse_duration, parse_seconds
from standby.config.plan import parse_encryption
from standby.config.sinks import MODES, mode_words, parse_mode
from standby.document import JsonObject

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _text(pattern: str) -> JsonObject:
    return {"type": "string", "pattern": pattern}


REFERENCE = r"\$\{([A-Za-z_][A-Za-z0-9_]*|(file|keyvault):[^{}]+)\}"  # What is filled in from elsewhere
SECRET = rf"^{REFERENCE}$"
_TRUTH = "|".join("".join(f"[{letter}{letter.upper()}]" for letter in word) for word in ("true", "yes", "no", "false"))
_ALSO: dict[object, tuple[JsonObject, ...]] = {  # What is read beside what a model asks for, by its type or its reader
    "str": (),
    "literal": (),
    "int": (_text(r"^\s*[+-]?[0-9]+(\.0*)?\s*$"),),
    "float": (_text(r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"),),
    "bool": ({"enum": [0, 1]}, _text(rf"^({_TRUTH}|[oO][nN]|[oO][fF][fF]|[tTyYfFnN01])$")),
    parse_duration: (),
    parse_seconds: (_text(WRITTEN),),
    parse_mode: ({"enum": [*MODES, *(int(mode_words(mode)) for mode in MODES)]},),
    parse_encryption: ({"enum": ["generate", "none"]},),
}


def configuration_schema() -> dict[str, Any]:
    """Make the schema: it takes what the loader takes before anything is filled in, and knows the same keys."""
    made = Configuration.model_json_schema(schema_generator=_Generator)
    for named in ("Resource", "RecoveryPlan"):
        made["$defs"][named]["required"].remove("name")  # Their key in the file is their name.
    return {"$schema": DIALECT, **made, "title": "standby.yaml"}


class _Generator(GenerateJsonSchema):
    """Allows `${NAME}`, and the like, in place of each value; a key that is not known is an error."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        made = super().generate_inner(schema)
        function = schema.get("function")
        kind = function["function"] if schema["type"] == "function-before" else schema["type"]
        if made.get("format") == "password":
            # How long a secret has to be says nothing of what stands for it.
            return {key: value for key, value in made.items() if key != "minLength"} | {"pattern": SECRET}
        if kind == "dict":
            return {**made, "propertyNames": super().generate_inner(schema["keys_schema"])}
        if kind == "tagged-union":
            return {"anyOf": made["oneOf"], "required": ["kind"]}
        if kind not in _ALSO or made == {"type": "string"}:
            return made
        # An encryption needs no kind where it has a key.
        last = made["anyOf"][-1] if kind is parse_encryption else _text(REFERENCE)
        known = made["anyOf"] if made.keys() == {"anyOf"} else [made]
        return {"anyOf": [*(each for each in known if each != last), *_ALSO[kind], last]}

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False
