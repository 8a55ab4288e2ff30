"""The settings of an environment: from the file, from overrides, and the secrets in both, which no message holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from metalayer.core.errors import UsageError
from metalayer.core.project import Project
from metalayer.project.environment import Secrets, read_env_file, read_environment, resolve

Loader = Callable[[Mapping[str, str]], Project]

SETTINGS = """\
name: shop
version: 1
environments:
  prod:
    database: postgresql://${USER_NAME}:${PASSWORD}@db/shop
    lake: {data: ../lake, encrypted: true, compression: snappy}
    on_failure: {webhook: "${ALERT_URL}"}
    keep: 2w
    threads: 4
    memory: 2GB
"""


def test_dev_is_embedded_below_the_project(project: Loader) -> None:
    loaded = project({})
    settings = read_environment(loaded, "dev", {})
    assert settings.database is None
    assert settings.directory == f"{loaded.root}/.metalayer"
    assert settings.data == f"{loaded.root}/.metalayer/lake"
    assert (settings.keep, settings.webhook, settings.compression) == (timedelta(days=7), None, "zstd")


def test_environments_do_not_share_a_directory(project: Loader) -> None:
    loaded = project({"metalayer.yml": "name: a\nversion: 1\nenvironments:\n  staging:\n"})
    settings = read_environment(loaded, "staging", {})
    assert settings.directory == f"{loaded.root}/.metalayer/environments/staging"
    assert settings.data == f"{settings.directory}/lake"


def test_secrets_are_filled_in_and_paths_are_of_the_project(project: Loader) -> None:
    loaded = project({"metalayer.yml": SETTINGS, ".env": "PASSWORD='p#1 x'\nALERT_URL=https://a/b # where\n"})
    settings = read_environment(loaded, "prod", {"USER_NAME": "shop", "ALERT_URL": "https://from/environ"})
    assert settings.database == "postgresql://shop:p#1 x@db/shop"
    assert settings.webhook == "https://from/environ"
    assert settings.data == str(Path(loaded.root).parent / "lake")
    assert (settings.encrypted, settings.compression, settings.keep) == (True, "snappy", timedelta(weeks=2))
    assert (settings.threads, settings.memory) == (4, "2GB")
    assert "p#1" not in repr(settings)
    assert "https" not in repr(settings)


def test_a_secret_that_is_nowhere_is_told_with_the_places_looked_at(project: Loader) -> None:
    loaded = project({"metalayer.yml": SETTINGS, ".env": "USER_NAME=shop\n"})
    with pytest.raises(UsageError) as caught:
        read_environment(loaded, "prod", {})
    said = str(caught.value)
    assert "${PASSWORD} has no value. Looked for in: the environment," in said
    assert "metalayer.yml:5:" in said
    assert "export PASSWORD=" in caught.value.hint


def vault(tmp_path: Path, code: str) -> str:
    script = tmp_path / "vault.py"
    script.write_text(code, encoding="utf-8")
    return f"secrets: {{command: ['{sys.executable}', '{script}']}}\n"


def test_the_command_is_asked_once_for_each_name(project: Loader, tmp_path: Path) -> None:
    code = "import sys\nopen('asked', 'a').write(sys.argv[1] + ' ')\nprint('of ' + sys.argv[1])\n"
    loaded = project({"metalayer.yml": SETTINGS + vault(tmp_path, code)})
    secrets = Secrets.of(loaded, {"ALERT_URL": "here"})
    assert secrets.fill("${PASSWORD} ${PASSWORD} ${ALERT_URL}") == "of PASSWORD of PASSWORD here"
    assert (tmp_path / "asked").read_text() == "PASSWORD "
    assert "of PASSWORD" not in repr(secrets)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import sys\nprint('s3cret')\nsys.exit(3)\n", "exit code 3"), ("pass\n", "it printed nothing")],
)
def test_a_command_that_fails_is_named_without_what_it_printed(
    project: Loader, tmp_path: Path, code: str, reason: str
) -> None:
    loaded = project({"metalayer.yml": SETTINGS + vault(tmp_path, code)})
    with pytest.raises(UsageError) as caught:
        read_environment(loaded, "prod", {"USER_NAME": "x"})
    assert reason in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_command_that_is_not_there_is_told(project: Loader) -> None:
    loaded = project({"metalayer.yml": SETTINGS + "secrets: {command: [no-such-vault-here]}\n"})
    with pytest.raises(UsageError, match=r"`no-such-vault-here USER_NAME` \(the command is not there\)"):
        read_environment(loaded, "prod", {})


def test_overrides_win_over_the_file_and_may_hold_secrets(project: Loader) -> None:
    loaded = project({".env": "METALAYER__KEEP=1d\nMETALAYER__THREADS=1\n"})
    environ = {
        "METALAYER__DATABASE": "postgresql://${HOST}/x",
        "HOST": "h",
        "METALAYER__LAKE__DATA": "s3://bucket/lake",
        "METALAYER__LAKE__ENCRYPTED": "true",
        "METALAYER__ON_FAILURE__WEBHOOK": "https://a",
        "METALAYER__THREADS": "3",
        "METALAYER_SOMETHING": "else",
    }
    settings = read_environment(loaded, "dev", environ)
    assert (settings.database, settings.data) == ("postgresql://h/x", "s3://bucket/lake")
    assert (settings.encrypted, settings.webhook, settings.threads) == (True, "https://a", 3)
    assert settings.keep == timedelta(days=1)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("METALAYER__LAKE__DATE", "x", "Did you mean 'METALAYER__LAKE__DATA'?"),
        ("METALAYER__THREADS", "many", "METALAYER__THREADS: 'many' is not a whole number"),
        ("METALAYER__LAKE__ENCRYPTED", "yes", "METALAYER__LAKE__ENCRYPTED: 'yes' is neither true nor false"),
        ("METALAYER__LAKE__COMPRESSION", "zst", "METALAYER__LAKE__COMPRESSION: 'zst'"),
        ("METALAYER__MEMORY", "lots", "METALAYER__MEMORY: 'lots' is not an amount"),
        ("METALAYER__KEEP", "ever", "METALAYER__KEEP: 'ever' is not a duration"),
    ],
)
def test_a_wrong_override_is_told_by_its_name(project: Loader, variable: str, value: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_environment(project({}), "dev", {variable: value})
    assert said in str(caught.value)


def test_an_unknown_environment_is_told(project: Loader) -> None:
    with pytest.raises(UsageError, match="no environment 'prd'") as caught:
        read_environment(project({"metalayer.yml": SETTINGS}), "prd", {})
    assert caught.value.hint.startswith("Did you mean 'prod'?")


def test_dollars_may_stand_for_themselves(project: Loader) -> None:
    secrets = Secrets.of(project({}), {"A": "x${B}"})
    assert secrets.fill("$5 $${A} ${A}") == "$5 ${A} x${B}"
    with pytest.raises(UsageError, match="holds no name of a variable"):
        secrets.fill("${not a name}")


def test_the_env_file_knows_quotes_comments_and_export(tmp_path: Path) -> None:
    lines = [
        "# words",
        "",
        "A=1",
        "export B = two words  # words",
        "C='single # $X'",
        'D="line\\nnext \\"x\\" \\\\ end" # words',
        "E=",
        "F=a#b",
        "G= # words",
        "H=https://a/?b=c&d=e==",
    ]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    assert read_env_file(str(tmp_path)) == {
        "A": "1",
        "B": "two words",
        "C": "single # $X",
        "D": 'line\nnext "x" \\ end',
        "E": "",
        "F": "a#b",
        "G": "",
        "H": "https://a/?b=c&d=e==",
    }


def test_a_bad_line_of_the_env_file_is_told_by_its_number_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\ns3cret\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"Line 2 of \.env") as caught:
        read_env_file(str(tmp_path))
    assert "s3cret" not in str(caught.value)


@dataclass(frozen=True, slots=True)
class Inner:
    password: str
    port: int = 5432


@dataclass(frozen=True, slots=True)
class Options:
    url: str
    inner: Inner
    tables: tuple[str, ...] = ()


def test_options_of_a_source_are_resolved_throughout(project: Loader) -> None:
    secrets = Secrets.of(project({}), {"P": "pw"})
    options = Options("db://${P}", Inner("${P}"), ("a", "${P}"))
    assert resolve(options, secrets) == Options("db://pw", Inner("pw"), ("a", "pw"))
    assert resolve({"a": ["${P}", 1, None]}, secrets) == {"a": ["pw", 1, None]}
    assert resolve(plain := Options("x", Inner("y")), secrets) == plain
