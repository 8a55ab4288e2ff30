"""JSON Schemas of every kind of file, for editors: written from the same shapes by which files are read.

They ship as files beside this module; ``python -m metalayer.project.schemas`` writes them anew, and a test holds them
against the shapes. They say what one file can say about itself; what tables say of each other is known to `load` alone.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from datetime import timedelta
from enum import Enum
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from metalayer.core.source import SourceType
from metalayer.project.bronze import PLANNED_SOURCES
from metalayer.project.documents import SHAPES
from metalayer.project.reading import Duration, Form, known_fields, members, rule_key
from metalayer.project.scaffold import SCHEMA_DIRECTORY, SCHEMA_FILES
from metalayer.project.shapes import BronzeShape, GroupShape, ModelShape, ProjectShape

DRAFT = "http://json-schema.org/draft-07/schema#"

JsonSchema = dict[str, Any]


def schemas(sources: Iterable[SourceType]) -> dict[str, JsonSchema]:
    """Return every schema by its name.

    Args:
        sources: the types of sources that are known; each has keys of its own.
    """
    result = {
        "project": _file(ProjectShape, "metalayer.yml"),
        "source": _source(tuple(sorted(sources, key=lambda source: source.name))),
        "front_matter": _file(ModelShape, "The front matter of a SQL model"),
    }
    for kind, shape in SHAPES.items():
        result[kind] = _file(shape, kind) if shape is not None else _titled({"type": "object"}, kind)
    return result


def _titled(schema: JsonSchema, title: str) -> JsonSchema:
    return {"$schema": DRAFT, "title": title, **schema}


def _file(shape: type, title: str) -> JsonSchema:
    writer = _Writer()
    schema = writer.mapping(shape)
    return _titled(schema, title) | writer.definitions_part()


def _source(sources: tuple[SourceType, ...]) -> JsonSchema:
    """Return the schema of a file in bronze: one form for each type of source, and a loose one for those to come."""
    writer = _Writer()
    table = writer.definition("Table", BronzeShape)
    later = [name for name in PLANNED_SOURCES if name not in {source.name for source in sources}]
    forms: list[tuple[JsonSchema, JsonSchema]] = [
        ({"const": source.name}, _source_form(source, table, writer)) for source in sources
    ]
    forms.append(({"enum": later}, {"properties": writer.definition("Group", GroupShape)}))
    known = [*(source.name for source in sources), *later]
    schema: JsonSchema = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"description": "the kind of source", "enum": sorted(known)}},
        "allOf": [
            {"if": {"properties": {"type": condition}, "required": ["type"]}, "then": form} for condition, form in forms
        ],
    }
    return _titled(schema, "A source") | writer.definitions_part()


def _source_form(source: SourceType, table: JsonSchema, writer: _Writer) -> JsonSchema:
    options = writer.mapping(source.options)
    if source.tables:
        both = {"properties": options["properties"] | table, "additionalProperties": False}
        group = writer.definition("Group", GroupShape)
        tables = {"type": "object", "description": "several tables of the source", "additionalProperties": both}
        several = {"properties": {"type": {}, "tables": tables} | options["properties"] | group}
        one = {"properties": {"type": {}} | options["properties"] | table, "additionalProperties": False}
        return {
            "required": sorted({"type", *options.get("required", ())}),
            "if": {"required": ["tables"]},
            "then": several | {"additionalProperties": False},
            "else": one,
        }
    return {
        "required": sorted({"type", *options.get("required", ())}),
        "properties": {"type": {}} | options["properties"] | table,
        "additionalProperties": False,
    }


class _Writer:
    """Writes annotations as schemas; each dataclass once, as a definition."""

    def __init__(self) -> None:
        self.definitions: dict[str, JsonSchema] = {}

    def definitions_part(self) -> JsonSchema:
        """Return the definitions made so far, as a part of a schema."""
        return {"definitions": dict(sorted(self.definitions.items()))} if self.definitions else {}

    def mapping(self, shape: type) -> JsonSchema:
        """Return the schema of a dataclass."""
        words = attribute_words(shape)
        required = [item.key for item in known_fields(shape) if item.required]
        properties = {
            item.key: {"description": words[item.name]} | self.of(item.annotation)
            if item.name in words
            else self.of(item.annotation)
            for item in known_fields(shape)
        }
        schema: JsonSchema = {"type": "object"}
        if summary := (inspect.getdoc(shape) or "").partition("\n")[0]:
            schema["description"] = summary
        if required:
            schema["required"] = required
        return schema | {"properties": properties, "additionalProperties": False}

    def reference(self, shape: type) -> JsonSchema:
        """Return a reference to a dataclass, which is defined once."""
        name = shape.__name__.removesuffix("Shape")
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.mapping(shape)
        return {"$ref": f"#/definitions/{name}"}

    def definition(self, name: str, shape: type) -> JsonSchema:
        """Define a dataclass and return its properties as references, so that several schemas can have them."""
        self.definitions[name] = self.mapping(shape)
        return {key: {"$ref": f"#/definitions/{name}/properties/{key}"} for key in self.definitions[name]["properties"]}

    def of(self, annotation: Any) -> JsonSchema:
        """Return the schema of an annotation, form by form as `reading` reads it."""
        origin = get_origin(annotation)
        if annotation is object or annotation is Any:
            return {}
        if origin in {Union, types.UnionType}:
            return self.any_of(members(annotation))
        if origin is Annotated:
            form = next(extra for extra in get_args(annotation)[1:] if isinstance(extra, Form))
            return self.form(form)
        if origin is tuple:
            return self.one_or_more(get_args(annotation)[0])
        if origin is Literal:
            return {"enum": list(get_args(annotation))}
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(get_args(annotation)[1])}
        if is_dataclass(annotation) and isinstance(annotation, type):
            return self.reference(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            return {"enum": [option.value for option in annotation]}
        if annotation is timedelta:
            return self.of(Duration)
        return {"type": _JSON_TYPES[annotation]}

    def form(self, form: Form) -> JsonSchema:
        """Return the schema of a text with a grammar of its own."""
        schema: JsonSchema = {"type": ["string", "number"] if form.numbers else "string", "examples": [form.means]}
        return schema | ({"pattern": form.pattern} if form.pattern else {})

    def any_of(self, options: tuple[Any, ...]) -> JsonSchema:
        """Return the schema of a union; checks are told apart by their rule, so that an editor names the right one."""
        ruled = [option for option in options if rule_key(option)]
        if ruled and len(ruled) == len(options):
            rules = [rule_key(option) for option in options]
            chain: JsonSchema = {}
            for rule, option in reversed(list(zip(rules, options, strict=True))):
                chain = {"if": {"required": [rule]}, "then": self.reference(option), "else": chain}
            self.definitions["AnyCheck"] = {"type": "object", "anyOf": [{"required": [rule]} for rule in rules]} | chain
            return {"$ref": "#/definitions/AnyCheck"}
        return {"anyOf": [self.of(option) for option in options]}

    def one_or_more(self, element: Any) -> JsonSchema:
        """Return the schema of a list, for which one value may stand unless it is a mapping."""
        items = self.of(element)
        several = {"type": "array", "items": items}
        if any(is_dataclass(option) for option in members(element)) or items.get("type") == "object":
            return several
        return {"anyOf": [items, several]}


_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}

_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n        .+)*)$", re.MULTILINE)


def attribute_words(shape: type) -> dict[str, str]:
    """Return what a dataclass's docstring, and those of its bases, say of each attribute."""
    result: dict[str, str] = {}
    for parent in reversed(shape.__mro__):
        text = inspect.cleandoc(parent.__doc__ or "")
        section = text.partition("Attributes:\n")[2].partition("\n\n")[0]
        for name, words in _ATTRIBUTE.findall(section):
            result[name] = " ".join(words.split())
    return result


def rendered(schema: JsonSchema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(sources: Iterable[SourceType]) -> None:
    """Write every schema to its file."""
    SCHEMA_DIRECTORY.mkdir(exist_ok=True)
    for name, schema in schemas(sources).items():
        (SCHEMA_DIRECTORY / f"{name}.json").write_text(rendered(schema), encoding="utf-8")
    sys.stderr.write(f"wrote {len(SCHEMA_FILES)} schemas to {SCHEMA_DIRECTORY}\n")


if __name__ == "__main__":
    installed = tuple(point.load() for point in entry_points(group="metalayer.sources"))
    if not installed:
        sys.exit("No source is registered: install the package first (pip install -e .).")
    main(installed)
