"""The fingerprint of a model changes with what decides its rows, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from metalayer.core.names import TableName
from metalayer.core.project import Project

Loader = Callable[[Mapping[str, str]], Project]

FILES = {
    "bronze/a.yml": "type: csv\npath: a.csv\nkey: id\ncolumns: {id: bigint, name: varchar}\n",
    "silver/a.sql": "/*---\nkey: id\nchecks: [{not_null: name}]\n---*/\nSELECT id, name\nFROM bronze.a\n",
    "gold/a.py": 'from metalayer import model\n\n@model(key="id")\ndef a(silver__a):\n    return silver__a\n',
}


def meaning(project: Loader, table: str, changes: Mapping[str, tuple[str, str]]) -> str:
    files = {path: text.replace(*changes[path]) if path in changes else text for path, text in FILES.items()}
    assert files != FILES or not changes
    return project(files).models[TableName.parse(table)].meaning


WORDS = [
    ("bronze.a", "bronze/a.yml", "key: id", "key: id\ndescription: words\nowner: me\ntags: [x]\nfresh: 1d"),
    ("bronze.a", "bronze/a.yml", "name: varchar", "name: {type: text, tags: [pii], description: words}"),
    ("silver.a", "silver/a.sql", "key: id", "description: words\nkey: [id]\ncolumns: {name: {tags: [pii]}}"),
    ("silver.a", "silver/a.sql", "SELECT id, name\n", "-- why\nselect (id),\n  name /* who */\n"),
    ("gold.a", "gold/a.py", '@model(key="id")', '# why\n@model(key=["id"], description="words")'),
    ("gold.a", "gold/a.py", "    return", '    """Words."""\n    # why\n    return'),
]

DEEDS = [
    ("bronze.a", "bronze/a.yml", "path: a.csv", "path: b.csv"),
    ("bronze.a", "bronze/a.yml", "name: varchar", "name: blob"),
    ("bronze.a", "bronze/a.yml", "key: id", "key: name"),
    ("bronze.a", "bronze/a.yml", "key: id", "key: id\ndrift: fail"),
    ("silver.a", "silver/a.sql", "SELECT id, name", "SELECT id, upper(name) AS name"),
    ("silver.a", "silver/a.sql", "key: id", "key: name"),
    ("silver.a", "silver/a.sql", "not_null: name", "not_null: name, on_fail: quarantine"),
    ("silver.a", "silver/a.sql", "key: id", "key: id\ncolumns: {name: blob}"),
    ("gold.a", "gold/a.py", "return silver__a", "return silver__a.limit(1)"),
    ("gold.a", "gold/a.py", "from metalayer", "LIMIT = 1\nfrom metalayer"),
]


@pytest.mark.parametrize(("table", "path", "old", "new"), WORDS)
def test_words_change_nothing(project: Loader, table: str, path: str, old: str, new: str) -> None:
    assert meaning(project, table, {}) == meaning(project, table, {path: (old, new)})


@pytest.mark.parametrize(("table", "path", "old", "new"), DEEDS)
def test_what_decides_the_rows_changes_it(project: Loader, table: str, path: str, old: str, new: str) -> None:
    assert meaning(project, table, {}) != meaning(project, table, {path: (old, new)})
