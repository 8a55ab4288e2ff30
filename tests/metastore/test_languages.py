"""Servers that speak another language than English: what they mean is known by their codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from metalayer.core.errors import ConflictError, MetaLayerError, MetastoreError, MetastoreUnavailableError
from metalayer.metastore.postgres import DatabaseSettings, Metastore

# A server of its own, which refuses everybody in the words and by the code that it is given. It is a process: whoever
# asks libpq whether a server answers holds Python's lock while it waits.
SERVER = """
import socket, struct, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
words = zip("SVCM", ["FATAL", "FATAL", *sys.argv[1:3]])
fields = b"".join(f"{kind}{word}\\0".encode() for kind, word in words) + b"\\0"
while True:
    client, _ = server.accept()
    with client:
        while True:
            head = client.recv(4, socket.MSG_WAITALL)
            if len(head) < 4:
                break
            body = client.recv(struct.unpack("!I", head)[0] - 4, socket.MSG_WAITALL)
            if struct.unpack("!I", body[:4])[0] in (80877103, 80877104):  # is there encryption? there is not
                client.sendall(b"N")
                continue
            client.sendall(b"E" + struct.pack("!I", len(fields) + 4) + fields)
            break
"""


@pytest.fixture
def refusing(request: pytest.FixtureRequest) -> Iterator[str]:
    code, words = request.param
    with subprocess.Popen([sys.executable, "-c", SERVER, code, words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"postgresql://ana:geheim@127.0.0.1:{process.stdout.readline().strip()}/lager"
        process.kill()


WORDS = [
    ("53300", "Verzeihung, schon zu viele Verbindungen", MetastoreUnavailableError, "max_connections"),
    ("57P03", "das Datenbanksystem startet", MetastoreUnavailableError, "try again"),
    ("28P01", "Passwort-Authentifizierung für Benutzer »ana« fehlgeschlagen", MetastoreError, "the password"),
    ("28000", "kein Eintrag in pg_hba.conf für Host", MetastoreError, "pg_hba.conf"),
    ("3D000", "Datenbank »lager« existiert nicht", MetastoreError, "CREATE DATABASE"),
    ("42501", "keine Berechtigung", MetastoreError, "refuses"),
]


@pytest.mark.parametrize(
    ("refusing", "kind", "mend"),
    [((code, words), kind, mend) for code, words, kind, mend in WORDS],
    indirect=["refusing"],
)
def test_who_is_refused_in_german_is_told_the_same_mend(refusing: str, kind: type[MetaLayerError], mend: str) -> None:
    with pytest.raises(MetastoreError) as caught:
        Metastore.open(DatabaseSettings(url=refusing, directory="/nowhere"))
    assert type(caught.value) is kind
    assert mend in caught.value.hint
    assert "geheim" not in str(caught.value)


def test_what_a_server_says_in_german_is_known_by_its_code(metastore: Metastore) -> None:
    def refused(code: str) -> MetaLayerError:
        with pytest.raises(MetaLayerError) as caught:
            metastore.connection.execute(f"DO $$ BEGIN RAISE 'kann nicht' USING ERRCODE = '{code}'; END $$")
        assert "kann nicht" in caught.value.message
        return caught.value

    assert isinstance(refused("40001"), ConflictError)
    assert isinstance(refused("40P01"), ConflictError)
    assert isinstance(refused("53300"), MetastoreUnavailableError)
    assert isinstance(refused("55P03"), MetastoreUnavailableError)
    assert "Free space" in refused("53100").hint
    assert "GRANT" in refused("42501").hint
