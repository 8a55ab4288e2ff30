"""A directory of declared files becomes one frozen `Project`, or the list of all that is wrong with it.

Only this room reads YAML. It never opens a database, a source or a data file, and it never runs a project's code.
"""

from metalayer.core.source import SourceType
from metalayer.project.bronze import PLANNED_SOURCES
from metalayer.project.environment import Secrets, Settings, read_environment, resolve
from metalayer.project.loading import load

__all__ = ["PLANNED_SOURCES", "Secrets", "Settings", "SourceType", "load", "read_environment", "resolve"]
