"""What analyzers read of documents. Each value follows from the document and the field, and from little else.

That is the training of a labelled analyzer, which a copy keeps and a rebuilt one does not have; the model, for what is
generated; chance, by a seed; and faults. Inferred: how each lack of a model or a child shows (`analysis_failures`).
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import TypeAlias

from standby.document import JsonObject, JsonValue, canonical
from standby.emulator import answers, definitions, faults, world
from standby.emulator.answers import Answer, Refusal, encode, json_answer
from standby.emulator.definitions import FACTS, Stored, as_object
from standby.emulator.handlers import Call
from standby.emulator.tokens import TIME

UNNAMED = "application/octet-stream"
SHOWN = re.compile(rb"\(((?:[^()\\]|\\.)*)\)\s*Tj")  # Text that an uncompressed PDF shows
PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
CHARACTERS_OF_A_PAGE = 3000  # Where there are no pages (REFERENCE-analyze)
EMPTY = 16  # One in so many fields has no value
LASTS = 60_000  # Milliseconds of any recording: nothing is listened to
DEEPEST = 8  # Levels of a schema, or of routers, that are followed


def draw(*parts: object) -> int:
    """Give a number that follows from the parts alone."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8])


@dataclass(frozen=True)
class File:
    """One document as it was sent."""

    content: bytes
    declared: str
    range: str = ""

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def media_type(self) -> str:
        """What it is; empty where it is not what it was said to be, or nothing that the service reads."""
        begins = self.content[:12].decode("latin-1")
        found = next((kind for kind, form in FACTS["files"].items() if re.match(form, begins)), "")
        found = found or ("text/" if self.content and b"\0" not in self.content else "")
        declared = self.declared.partition(";")[0].strip() or UNNAMED
        if declared == UNNAMED:
            return "text/plain" if found == "text/" else found
        return declared if found and declared.startswith((found, "application/json")) else ""

    @cached_property
    def markdown(self) -> str:
        """Give the same for the same file, whoever reads it (REFERENCE-analyze, *What is stable*)."""
        return "\n\n".join(("# Document", *self.lines)) + "\n"

    @cached_property
    def lines(self) -> tuple[str, ...]:
        found = self.content.splitlines() if self.media_type == "text/plain" else SHOWN.findall(self.content)
        return tuple(line.decode("utf-8", "replace") for line in found) or (f"Page text {self.digest[:8]}",)

    @cached_property
    def pages(self) -> int:
        return len(PAGE.findall(self.content)) or 1 + len(self.content) // CHARACTERS_OF_A_PAGE * (not self.is_paper)

    @property
    def is_paper(self) -> bool:
        return not (self.is_recording or self.media_type.startswith("text/"))

    @property
    def is_recording(self) -> bool:
        return self.media_type.startswith(("audio/", "video/"))

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Give the first and the last page, or millisecond, of each part that the range names. Inferred: refusals."""
        begin, end = (0, LASTS) if self.is_recording else (1, self.pages)
        named = re.findall(r"(\d+)(-?)(\d*)", self.range or f"{begin}-")
        found = [(max(begin, int(one)), min(end, int(last or (end if to else one)))) for one, to, last in named]
        if not (found := [(first, last) for first, last in found if first <= last]):
            raise answers.invalid_request("InvalidParameter", f"The range '{self.range}' has nothing of the input.")
        return found

    def shape(self) -> JsonObject:
        """Give what a content has by its kind (pages: recordings; media: the vendor's SDK)."""
        parts, page = self.parts, {"angle": 0, "width": 8.5, "height": 11}
        begin, end = min(first for first, _ in parts), max(last for _, last in parts)
        if self.is_recording:
            said: JsonObject = {"speaker": "Speaker 1", "text": self.lines[0], "words": []}
            phrases: JsonValue = [{"startTimeMs": first, "endTimeMs": last, **said} for first, last in parts]
            seen: JsonObject = {"width": 1280, "height": 720, "keyFrameTimesMs": [first for first, _ in parts]}
            shown = seen if self.media_type.startswith("video/") else {}
            return {
                "kind": "audioVisual",
                "startTimeMs": begin,
                "endTimeMs": end,
                "transcriptPhrases": phrases,
                **shown,
            }
        numbers = sorted({number for first, last in parts for number in range(first, last + 1)})
        pages: JsonObject = {"unit": "inch", "pages": [{"pageNumber": number, **page} for number in numbers]}
        ends: JsonObject = {"kind": "document", "startPageNumber": begin, "endPageNumber": end}
        return {**ends, **(pages if self.is_paper else {})}


def value_of(definition: JsonObject, file: File, key: str, deviation: str) -> JsonValue:
    """Give the value of a field; each deviation makes another one, also where there are few to choose from."""
    base, number, enum = draw(key), draw(key, deviation), definition.get("enum")
    if isinstance(enum, list) and enum:
        turn = 1 + number % (len(enum) - 1) if deviation and len(enum) > 1 else 0
        return enum[(base + turn) % len(enum)]
    simple: dict[str, JsonValue] = {
        "boolean": (base + bool(deviation)) % 2 == 1,
        "number": number % 10**7 / 100,
        "integer": number % 10**7,
        "date": str(date(1990, 1, 1) + timedelta(days=number % 20_000)),
        "time": f"{number % 24:02d}:{number // 24 % 60:02d}:{number // 1440 % 60:02d}",
    }
    return simple.get(str(definition.get("type")), f"{file.lines[base % len(file.lines)]} ({number % 16**6:06x})")


Read: TypeAlias = Callable[[str, str, JsonObject], JsonObject]  # Makes a field of its path, method and definition


def fields_of(schema: JsonObject, file: File, read: Read) -> JsonObject:
    """Make the fields of a schema; what has parts has no confidence, spans or source of its own (recordings)."""

    def made(path: str, given: JsonValue, inherited: str, level: int = 0) -> JsonValue:
        reference = str(as_object(given).get("$ref", "")).rpartition("/")[2]
        definition = {
            **as_object(as_object(schema.get("definitions")).get(reference)),
            **as_object(given),
        }
        method, kind = str(definition.get("method") or inherited), str(definition.get("type") or "string")
        if kind == "array" and level < DEEPEST:
            count, items = 1 + draw(file.digest, path) % 3, definition.get("items")
            return {
                "type": kind,
                "valueArray": [made(f"{path}[{at}]", items, method, level + 1) for at in range(count)],
            }
        if kind == "object" and level < DEEPEST:
            inner = as_object(definition.get("properties")).items()
            members: JsonObject = {name: made(f"{path}.{name}", each, method, level + 1) for name, each in inner}
            return {"type": kind, "valueObject": members}
        return read(path, method, {**definition, "type": kind})

    return {name: made(name, each, "extract") for name, each in as_object(schema.get("fields")).items()}


@dataclass
class Reading:
    """One analysis: who reads, and what it used; `overrides` are deployments by the name of a model."""

    state: world.ResourceState
    call: Call
    overrides: Mapping[str, JsonValue]
    tokens: JsonObject

    def contents(self, name: str, file: File, path: str, category: str = "", level: int = 0) -> Iterator[JsonObject]:
        """Give what an analyzer reads of a file, and then what those of its categories do."""
        analyzer, twist = self._analyzer(name), self.call.twist
        config = as_object(analyzer.body.get("config"))
        fields, segments = self._fields(name, analyzer, file), list(segments_of(config, file))
        other = "\nRead otherwise.\n" if isinstance(twist, faults.AnswersDifferently) and twist.markdown else ""
        if not (segments and config.get("omitContent")):
            yield {
                "path": path,
                "markdown": file.markdown + other,
                **({"fields": fields} if fields else {}),
                **file.shape(),
                **({"category": category} if category else {}),
                **({"segments": [*segments]} if segments else {}),
                "analyzerId": name,
                "mimeType": file.media_type,
            }
        for segment in segments if level < DEEPEST else ():
            kind = str(segment["category"])
            child = as_object(as_object(config["contentCategories"]).get(kind)).get("analyzerId")
            if child and (self.state.settings.analysis_failures != "quiet" or self._find(str(child))):
                # Not recorded: the vendor's SDK joins by this path.
                yield from self.contents(str(child), file, f"{path}/{segment['segmentId']}", kind, level + 1)

    def _find(self, name: str) -> Stored | None:
        return self.state.find(self.call.api_version, name)

    def _analyzer(self, name: str) -> Stored:
        found = self._find(name)
        if found is None:
            raise answers.invalid_request("ModelNotFound", f"The analyzer '{name}' was not found.")
        if found.status != "ready":
            raise answers.invalid_request("ModelNotReady", f"The analyzer '{name}' is {found.status}, not ready.")
        return found.changed(**FACTS["prebuilt_details"].get(name, {}))

    def _models(self, name: str, analyzer: Stored) -> dict[str, tuple[str, str]]:
        """Give model and version that really serve, by role; a `Refusal` where none does."""
        settings, found = self.state.settings, {}
        names_deployments = self.call.api_version == definitions.PREVIEW_2025 and not name.startswith(
            definitions.PREBUILT
        )
        for role, model in definitions.models_of(analyzer.body).items():
            chosen = model if names_deployments else self.overrides.get(model) or (settings.defaults or {}).get(model)
            if chosen is None:
                text = f"The analyzer needs a '{role}' model deployment of '{model}', but none was resolved."
                raise answers.invalid_request("DefaultsNotSet" if settings.defaults is None else "ModelNotSet", text)
            if (deployment := settings.deployed.get(str(chosen))) is None:
                raise answers.invalid_request("DeploymentNotFound", f"The deployment '{chosen}' was not found.")
            found[role] = deployment.model, deployment.version
        return found

    def _fields(self, name: str, analyzer: Stored, file: File) -> JsonObject:
        settings, twist, paths = self.state.settings, self.call.twist, list[str]()
        schema, models = as_object(analyzer.body.get("fieldSchema")), self._models(name, analyzer)

        def note(path: str, *_: object) -> JsonObject:
            paths.append(path)
            return {}

        fields_of(schema, file, note)
        about_it = (settings.analysis_seed, self.state.place.name, name, file.digest)
        of_call = (*about_it, self.state.analysed[about_it])
        self.state.analysed[about_it] += 1
        # Inferred: labelled documents are found by their embeddings, so another model finds others.
        training = analyzer.training and f"{analyzer.training} {models.get('embedding')}"
        odd = dict.fromkeys(_some(paths, settings.rebuilt_differs if training else 0.0, file), training)
        if isinstance(twist, faults.AnswersDifferently):
            odd |= dict.fromkeys(_told(paths, twist.fields, file), self.state.place.name)
        completion = models.get("completion", ("gpt-4.1", ""))
        for side, count in (("input", 1200 + 2400 * file.pages), ("output", 5 + 60 * len(paths))):
            self.tokens |= {f"{completion[0]}-{side}": count} if models or paths else {}

        def read(path: str, method: str, definition: JsonObject) -> JsonObject:
            model = completion if method == "generate" else ""
            chance = settings.generate_noise if model else settings.extract_noise
            noise = of_call if draw(*of_call, path) < chance * 2**64 else ""
            deviation = f"{odd.get(path, '')}{noise}"
            key = f"{file.digest} {path} {canonical(definition).decode()} {model}"
            kind, confidence = str(definition["type"]), draw(key, self.call.id) % 1000 / 1000
            if not deviation and draw(key, "empty") % EMPTY == 0:
                return {"type": kind, "confidence": confidence}
            value = {f"value{kind.capitalize()}": value_of(definition, file, key, deviation)}
            return {"type": kind, **value, "confidence": confidence, **FACTS["grounding"]}

        return fields_of(schema, file, read)


def segments_of(config: JsonObject, file: File) -> Iterator[JsonObject]:
    """Give the segments of a file: those of the categories that its text names, else one of any or one a page."""
    categories = list(as_object(config.get("contentCategories")))
    chosen = [name for name in categories if name.lower() in file.markdown.lower()]
    if categories and not config.get("enableSegment"):
        chosen = (chosen or categories)[draw(file.digest) % len(chosen or categories) :][:1]
    chosen = chosen or categories[: file.pages]
    for at, name in enumerate(chosen):
        begin, end = (len(file.markdown) * each // len(chosen) for each in (at, at + 1))
        first, after = (file.pages * each // len(chosen) for each in (at, at + 1))
        yield {
            "span": {"offset": begin, "length": end - begin},
            "segmentId": f"segment{at + 1}",
            "startPageNumber": first + 1,
            "endPageNumber": max(first + 1, after),
            "category": name,
        }


def _some(paths: list[str], share: float, file: File) -> list[str]:
    """Choose a share of fields, as many whatever the draw."""
    return sorted(paths, key=lambda path: draw(file.digest, path))[: math.ceil(share * len(paths) - 1e-9)]


def _told(paths: list[str], fields: float | Collection[str], file: File) -> list[str]:
    if isinstance(fields, float):
        return _some(paths, fields, file)
    return [path for path in paths if path in fields or re.split(r"[.\[]", path)[0] in fields]


def analyze(_: world.World, state: world.ResourceState, call: Call) -> Answer:
    """Answer `:analyze` (recordings: analyze url, custom, delete result)."""
    inputs = call.body.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise answers.invalid_request("InvalidParameter", "'inputs' is required.")
    return _begin(
        state,
        call,
        [_file(as_object(each)) for each in inputs],
        as_object(call.body.get("modelDeployments")),
    )


def analyze_binary(_: world.World, state: world.ResourceState, call: Call) -> Answer:
    """Answer `:analyzeBinary`, which came with the released version (recording: classifier segments)."""
    return _begin(state, call, [File(call.content, call.media_type, call.query.get("range", ""))], {})


def _file(given: JsonObject) -> File:
    url, data, part = given.get("url"), given.get("data"), str(given.get("range") or "")
    if isinstance(url, str) and data is None:
        # Nothing is fetched: what stands for the document is its address, and it has the pages that are asked for.
        begins = next((form for suffix, form in FACTS["begins"].items() if url.endswith(suffix)), "")
        last = min(300, max(map(int, re.findall(r"\d+", part)), default=1)) if begins == "%PDF" else 0
        shown = f"{begins}\n{'/Type /Page ' * last}({url}) Tj".encode("latin-1", "replace")
        return File(shown if begins else url.encode(), UNNAMED, part)
    if not isinstance(data, str) or url is not None:
        raise answers.invalid_request("InvalidParameter", "Exactly one of 'url' and 'data' is required.")
    try:
        return File(base64.b64decode(data, validate=True), str(given.get("mimeType") or ""), part)
    except ValueError:
        raise answers.invalid_request("InvalidParameter", "'data' is not Base64.") from None


def _begin(state: world.ResourceState, call: Call, files: list[File], overrides: JsonObject) -> Answer:
    state.get(call.api_version, call.analyzer)
    reading, contents = Reading(state, call, overrides, {}), list[JsonValue]()
    failure = _failure(call, files)
    try:
        for number, file in enumerate(files, 1):
            contents += reading.contents(call.analyzer, file, f"input{number}") if failure is None else ()
    except Refusal as refusal:
        if state.settings.analysis_failures == "at_once":
            raise
        failure = refusal
    about: JsonObject = {"analyzerId": call.analyzer, "apiVersion": call.api_version}
    about |= {"createdAt": definitions.whole_seconds(call.now)}
    running: JsonObject = {"id": call.id, "status": "Running", "result": {**about, "warnings": [], "contents": []}}
    if failure:
        ended: JsonObject = {**running, "status": "Failed", "error": failure.error}
    else:
        about |= {"stringEncoding": call.query.get("stringEncoding", "codePoint"), "warnings": [], "contents": contents}
        pages, kind = sum(file.pages for file in files), "Standard" if files[0].is_paper else "Minimal"
        spent: JsonObject = {"contextualizationTokens": 1000 * pages, "tokens": reading.tokens}
        usage: JsonObject = {f"documentPages{kind}": pages, **(spent if reading.tokens else {})}
        if files[0].is_recording:
            del usage[f"documentPages{kind}"]
            usage[f"{files[0].media_type[:5]}Hours"] = round(LASTS / 3_600_000, 4)
        ended = {"id": call.id, "status": "Succeeded", "result": about, "usage": usage}
    due = math.inf if isinstance(call.twist, faults.AnalysisHangs) else TIME.monotonic() + state.settings.service_time
    state.keep_result(call.id, call.analyzer, definitions.Result(call.api_version, due, encode(running), encode(ended)))
    place = f"{call.origin}/contentunderstanding/analyzerResults/{call.id}?api-version={call.api_version}"
    return json_answer(running, 202, (("Operation-Location", place),))


def _failure(call: Call, files: list[File]) -> Refusal | None:
    if isinstance(fault := call.twist, faults.AnalysisFails):
        inner = (fault.inner_code, fault.message) if fault.inner_code else None
        return Refusal(200, fault.code, fault.message, inner)
    if not all(file.media_type for file in files):
        # The words are a user's (REFERENCE-analyze, *Errors*).
        return answers.invalid_request("InvalidContent", "The request body does not match the specified content type.")
    return None


def get_result(_: world.World, state: world.ResourceState, call: Call) -> Answer:
    """Answer `GET /analyzerResults/{operation}`. Inferred: one that was deleted is not found."""
    return Answer(200, state.result(call.api_version, call.operation).encoded(TIME.monotonic()))


def delete_result(_: world.World, state: world.ResourceState, call: Call) -> Answer:
    """Answer DELETE of a result, since the released version (recording). Inferred: one that is gone is not found."""
    state.result(call.api_version, call.operation)
    del state.results[call.operation]
    return Answer(204)


def get_file(_: world.World, state: world.ResourceState, call: Call) -> Answer:
    """Answer for a file of a result: frames of a video, and no others (recording: delete result)."""
    if call.file.partition("/")[0] not in FACTS["result_files"]:
        text = f"Invalid path provided. '{call.file}' is not a supported file type. Supported types are: "
        raise answers.invalid_request("InvalidParameter", f"{text}{', '.join(FACTS['result_files'])}.")
    ended = json.loads(state.result(call.api_version, call.operation).encoded(TIME.monotonic()))
    frames = [at for each in ended.get("result", {}).get("contents", []) for at in each.get("keyFrameTimesMs", [])]
    if call.file not in {f"keyframes/{at}" for at in frames}:
        raise answers.no_such_path()
    return Answer(200, b"\xff\xd8\xff\xd9", (("Content-Type", "image/jpeg"),))
