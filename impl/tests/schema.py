"""The part of JSON Schema that spec/trace.schema.json uses, and nothing else: an unknown keyword is an error."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "spec" / "trace.schema.json"
SCHEMA: Mapping[str, Any] = json.loads(FILE.read_text())
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
SAYING = {"description", "title", "$schema", "$defs"}


def faults(seen: object, schema: Mapping[str, Any] = SCHEMA, where: str = "line") -> Iterator[str]:
    """What is wrong with a value, by the schema; nothing if it is valid."""
    for keyword, wanted in schema.items():
        if keyword not in SAYING and not _holds(keyword, wanted, seen, schema):
            yield f"{where}: {keyword} {str(wanted)[:80]} does not hold for {str(seen)[:200]}"
    if isinstance(seen, dict):
        for name, below in seen.items():
            if name in schema.get("properties", {}):
                yield from faults(below, schema["properties"][name], f"{where}.{name}")
    if isinstance(seen, list) and "items" in schema:
        for index, below in enumerate(seen):
            yield from faults(below, schema["items"], f"{where}[{index}]")


def _holds(keyword: str, wanted: Any, seen: Any, schema: Mapping[str, Any]) -> bool:
    match keyword:
        case "$ref":
            return _is_valid(seen, SCHEMA["$defs"][wanted.removeprefix("#/$defs/")])
        case "oneOf":
            return sum(_is_valid(seen, branch) for branch in wanted) == 1
        case "type":
            names = [wanted] if isinstance(wanted, str) else wanted
            return any(isinstance(seen, TYPES[name]) and (name == "boolean" or seen is not True) for name in names)
        case "const":
            return bool(seen == wanted and type(seen) is type(wanted))
        case "enum":
            return seen in wanted
        case "pattern":
            return not isinstance(seen, str) or re.search(wanted, seen) is not None
        case "minLength":
            return not isinstance(seen, str) or len(seen) >= wanted
        case "minimum":
            return not isinstance(seen, int) or seen >= wanted
        case "minItems":
            return not isinstance(seen, list) or len(seen) >= wanted
        case "maxItems":
            return not isinstance(seen, list) or len(seen) <= wanted
        case "uniqueItems":
            return not isinstance(seen, list) or len({json.dumps(item) for item in seen}) == len(seen)
        case "required":
            return not isinstance(seen, dict) or all(name in seen for name in wanted)
        case "additionalProperties":
            assert wanted is False
            return not isinstance(seen, dict) or set(seen) <= set(schema["properties"])
        case "prefixItems":
            return not isinstance(seen, list) or all(map(_is_valid, seen, wanted))
        case "properties" | "items":
            return True
    raise AssertionError(f"{FILE.name} uses {keyword}, which this validator does not know")


def _is_valid(seen: object, schema: Mapping[str, Any]) -> bool:
    return next(faults(seen, schema), None) is None
