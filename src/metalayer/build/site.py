"""Where a model lands, and what is known of what was there before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metalayer.build.context import RunContext
from metalayer.core.interval import Days
from metalayer.core.names import TableName
from metalayer.governance.relations import Relations, Superseded

if TYPE_CHECKING:
    from metalayer.lake import LakeState, Session
    from metalayer.metastore.facts import Published


def _nothing(_: int) -> Superseded:
    return {}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a model lands: the session that stages, the lake as it was pinned, and how names are read.

    Attributes:
        days: those that a table of ranges is computed for; all where it is None.
        scratch: a table holds just what its query yields now, also where its kind would keep older rows.
        past: what derived tables were last made from, by the definition that they have now.
        superseded: returns what newer versions of parts had replaced at a snapshot.
    """

    session: Session
    state: LakeState
    relations: Relations
    context: RunContext
    days: Days | None = None
    scratch: bool = False
    past: Mapping[TableName, Published] = field(default_factory=dict, hash=False)
    superseded: Callable[[int], Superseded] = _nothing
