"""The process in which a dlt resource runs: it writes the resource's items as JSON Lines and says where it got to.

It is a process of its own because dlt and what it calls keep settings, log and state of their own. What it is to do
comes by its standard input, secrets among it; nothing is written outside of the directory that it is given, and nothing
is sent to anybody but the resource's own place.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

_BATCH = 10_000


def main() -> None:
    """Run one resource, as standard input asks."""
    asked = json.load(sys.stdin)
    directory = Path(asked["directory"])
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["DLT_DATA_DIR"] = str(directory / "data")
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
    os.chdir(asked["root"])
    sys.path.insert(0, asked["root"])
    try:
        said = _run(asked, directory)
    except Exception as error:  # noqa: BLE001 - it is the user's code: whatever it raises is told, and nothing else
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = {"error": f"{type(cause).__name__}: {cause}"[:2000], "kind": type(error).__name__}
    (directory / "said.json").write_text(json.dumps(said), encoding="utf-8")


def _run(asked: dict[str, Any], directory: Path) -> dict[str, Any]:
    import dlt  # noqa: PLC0415 - an extra, and slow to import: its errors are to be told
    from dlt.common.json import json as encoder  # noqa: PLC0415 - as above

    resource, whole = _resource(_called(asked["source"], asked["root"])(**asked["arguments"]), asked["resource"])
    disposition = resource.write_disposition
    name = disposition.get("disposition", "append") if isinstance(disposition, dict) else str(disposition)
    resource.apply_hints(write_disposition="append")  # what becomes of the rows is decided where they are loaded
    counted = 0
    with (directory / "items.jsonl").open("wb") as out:

        @dlt.destination(
            batch_size=_BATCH,
            loader_file_format="typed-jsonl",
            naming_convention="direct",
            skip_dlt_columns_and_tables=True,
            max_parallel_load_jobs=1,
            max_table_nesting=0,
            name="metalayer",
        )
        def spool(items: Any, table: Any) -> None:  # noqa: ARG001 - dlt's signature
            nonlocal counted
            counted += len(items)
            for item in items:
                out.write(encoder.dumpb(item))
                out.write(b"\n")

        pipeline = dlt.pipeline("metalayer", pipelines_dir=str(directory / "pipelines"), destination=spool)
        if asked["state"] is not None:
            with pipeline.managed_state() as state:
                state["sources"] = asked["state"]
        pipeline.run(whole).raise_on_failed_jobs()
    schema: Any = pipeline.default_schema_name and pipeline.default_schema
    tables: dict[str, Any] = dict(schema.tables) if schema else {}
    return {
        "state": pipeline.state.get("sources"),
        "disposition": name,
        "items": counted,
        "columns": {
            column: hints.get("data_type")
            for column, hints in tables.get(resource.table_name, {}).get("columns", {}).items()
            if not column.startswith("_dlt_")
        },
    }


def _called(where: str, root: str) -> Any:
    """Return the function that makes the source or resource: ``file.py:name`` in the project, or ``module:name``."""
    place, _, name = where.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, Path(root, place))
        if spec is None or spec.loader is None:
            raise FileNotFoundError(place)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    return getattr(module, name)


def _resource(made: Any, name: str) -> tuple[Any, Any]:
    """Return one resource, and what is run for it: the source that it belongs to with nothing else, or itself."""
    resources = getattr(made, "resources", None)
    if resources is None:
        return made, made
    if name not in resources:
        raise LookupError(f"the source has no resource '{name}'; it has {', '.join(sorted(resources))}")
    return resources[name], made.with_resources(name)


if __name__ == "__main__":
    main()
