"""Python models: one decorated function over relations. Project code is trusted code: it runs in this process."""

from __future__ import annotations

import importlib.util
import inspect
from typing import TYPE_CHECKING

from metalayer.core.errors import BuildError, Location
from metalayer.core.model import Model, PythonQuery
from metalayer.core.names import TableName, quote
from metalayer.governance.access import OWNER, secure

if TYPE_CHECKING:
    from types import ModuleType

    from metalayer.governance.relations import Relations
    from metalayer.lake import Session


def call(model: Model, query: PythonQuery, session: Session, relations: Relations) -> str:
    """Call a Python model's function with its inputs and return the FROM item of what it returned.

    Each parameter names an input (``silver__orders`` is ``silver.orders``) and gets a DuckDB relation of it. The
    function returns a relation, an Arrow table, or a Polars or pandas frame.

    Raises:
        BuildError: the file cannot be imported, or the function raised.
    """
    try:
        module = _import(query.path, f"metalayer_model_{model.name.layer}_{model.name.name}")
        function = getattr(module, query.function)
        arguments = {name: _input(name, session, relations) for name in inspect.signature(function).parameters}
        result = function(**arguments)
    except BuildError:
        raise
    except Exception as error:  # the model is the project's own code: whatever it raises is its author's to read
        line = _line_in(error, query.path)
        raise BuildError(
            f"The Python model {model.name} raised {type(error).__name__}: {error}",
            hint=_mend(error),
            location=Location(model.location.path, line),
        ) from error
    if result is None:
        raise BuildError(
            f"The Python model {model.name} returned nothing.",
            hint=f"End {query.function}() with `return` and a relation, an Arrow table, or a Polars or pandas frame.",
            location=model.location,
        )
    view = "python " + str(model.name)
    session.register(view, result)
    return quote(view)


def _mend(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        wanted = f"'metalayer[{package}]'" if package in {"polars", "pandas"} else package.replace("_", "-")
        return f"Install it where metalayer is installed (pip install {wanted}), or correct the import."
    return "Mend the function; it gets DuckDB relations and returns a relation, Arrow, Polars or pandas."


def _input(parameter: str, session: Session, relations: Relations) -> object:
    """Return the relation that a parameter names (``silver__orders`` is ``silver.orders``)."""
    layer, _, name = parameter.partition("__")
    table = TableName.parse(f"{layer}.{name}")
    view = f"input {table}"
    session.query(f"CREATE OR REPLACE TEMP VIEW {quote(view)} AS {secure(f'SELECT * FROM {table}', OWNER, relations)}")
    return session.relation(view)


def _import(path: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BuildError(f"{path} is not a Python file.", hint="A Python model is a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _line_in(error: BaseException, path: str) -> int | None:
    """Return the last line of the model's file that the error passed through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
