"""A worker without guard and referee: what the engine and the system alone hold back. Run as a program by a test.

It gets the files and views of one table and a list of texts, runs each as it is, and prints whatever comes back.
"""

from __future__ import annotations

import json
import os
import sys

import duckdb

from metalayer.lake import sandbox, worker


def main() -> None:
    given = json.loads(sys.stdin.read())
    network_left = sandbox.leave_network()
    connection = worker.start()
    worker._wall_in({**given, "cpu": 120}, network_left=network_left)
    worker.close_off(connection, given["files"], given["memory"] * 3 // 4)
    connection.execute("CREATE SCHEMA silver")
    connection.execute(f"CREATE VIEW silver.prices AS {given['view']}")
    connection.execute("SET GLOBAL lock_configuration = true")
    for text in given["texts"]:
        try:
            said = repr(connection.cursor().execute(text).fetchmany(50))
        except (duckdb.Error, RuntimeError, UnicodeError, ValueError, AttributeError) as error:
            said = str(error)
        os.write(1, json.dumps({"text": text, "said": said}).encode() + b"\n")


if __name__ == "__main__":
    # As the nursery does: what importing the engine started is not there in a child.
    child = os.fork()
    if child == 0:
        main()
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
