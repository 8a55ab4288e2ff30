"""The shipped JSON Schemas: written from the shapes, true of the canonical sample, no laxer than they need to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.front_matter import split
from metalayer.project.nodes import MapNode, plain, read_yaml
from metalayer.project.scaffold import SCHEMA_DIRECTORY, SCHEMA_FILES, shipped
from metalayer.project.schemas import rendered, schemas
from metalayer.sources import registered

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(SCHEMA_FILES))
def test_what_ships_is_what_the_shapes_say(name: str, *, update_golden: bool) -> None:
    current = rendered(schemas(registered().values())[name])
    if update_golden:
        (SCHEMA_DIRECTORY / f"{name}.json").write_text(current, encoding="utf-8")
    assert current == shipped(name), "write them anew: pytest tests/project --update-golden"
    Draft7Validator.check_schema(json.loads(current))


def complaints(schema: str, path: Path, root: Path) -> list[str]:
    file = DeclaredFile.of(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    mistakes = Mistakes()
    node: MapNode | None
    node = split(file, mistakes)[0] if path.suffix == ".sql" else read_yaml(file, mistakes)
    if node is None or mistakes.problems:
        return ["not YAML"]
    return [error.message for error in Draft7Validator(json.loads(shipped(schema))).iter_errors(plain(node))]


def declarations(root: Path) -> list[tuple[str, Path]]:
    found = [(schema, path) for schema, globs in SCHEMA_FILES.items() for glob in globs for path in root.glob(glob)]
    return found + [("front_matter", path) for layer in ("silver", "gold") for path in root.glob(f"{layer}/**/*.sql")]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        pytest.param(schema, path, id=str(path.relative_to(root.parent)))
        for root in (HERE / "canonical", HERE / "mistakes" / "base")
        for schema, path in declarations(root)
    ],
)
def test_sound_files_are_valid(schema: str, path: Path) -> None:
    root = next(parent for parent in path.parents if parent.name in {"canonical", "base"})
    assert complaints(schema, path, root) == []


SEEN = sorted(
    f"{prefix}{name}"
    for prefix, names in {
        "": ["alert_without_metric", "columns_as_list", "column_key_unknown", "kind_unknown", "metric_is_text"],
        "check_": ["action_unknown", "as_text", "dimension_unknown", "key_missing", "rule_unknown", "without_rule"],
        "duration_": ["as_number", "in_words"],
        "front_matter_": ["unknown_key", "foreign_word"],
        "settings_": ["compression", "environment_is_list", "keep", "memory", "name", "unknown_key", "version"],
        "source_": [
            "drift",
            "option_of_another_form",
            "option_unknown",
            "path_missing",
            "type_missing",
            "type_unknown",
        ],
        "policies_": ["unknown_key"],
        "test_": ["rows_not_a_list"],
        "yaml_": ["number_where_text", "yes_is_text"],
    }.items()
    for name in names
)


@pytest.mark.parametrize("case", SEEN)
def test_an_editor_sees_the_mistake_too(case: str) -> None:
    root = HERE / "mistakes" / case / "wrong"
    found = [complaint for schema, path in declarations(root) for complaint in complaints(schema, path, root)]
    assert found


@pytest.mark.parametrize("case", sorted(path.parent.name for path in HERE.glob("mistakes/*/mended")))
def test_an_editor_agrees_with_each_mend(case: str) -> None:
    root = HERE / "mistakes" / case / "mended"
    found = [complaint for schema, path in declarations(root) for complaint in complaints(schema, path, root)]
    assert not found


def test_every_key_has_its_words() -> None:
    """What an editor shows beside a key comes from the shapes' docstrings."""
    for name in SCHEMA_FILES:
        schema = json.loads(shipped(name))
        for shape in (schema, *schema.get("definitions", {}).values()):
            for key, part in shape.get("properties", {}).items():
                assert "description" in part or "$ref" in part, f"{name}: {key}"
