"""The flow account: what became of the driving input's rows, each term counted by a query of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metalayer.core.errors import BuildError
from metalayer.core.model import Model, SqlQuery
from metalayer.core.run import FlowAccount
from metalayer.core.sql import parse_query
from metalayer.core.sql.accounting import counting
from metalayer.governance.access import OWNER, secure

if TYPE_CHECKING:
    from metalayer.build.site import Site


def flow_account(model: Model, site: Site, staged: int) -> FlowAccount | None:
    """Count a SQL model's flow; None where no single driving input is provable.

    ``staged`` is what the query yielded. A group's rows are counted by the sum of its counts.

    Raises:
        BuildError: the account does not balance: the query lost or doubled rows while it ran.
    """
    if not isinstance(model.query, SqlQuery):
        return None
    found = counting(parse_query(model.query.text))
    if found is None:
        return None
    ((in_scope, kept, filtered),) = site.session.query(secure(found.scope, OWNER, site.relations))
    output = staged
    if found.grouped is not None:
        ((output,),) = site.session.query(secure(found.grouped, OWNER, site.relations))
    account = FlowAccount(
        driving=str(found.driving),
        in_scope=int(in_scope),
        kept=int(kept),
        filtered=int(filtered),
        deduplicated=0,
        output=int(output),
        expanded=0,
    )
    if not account.balances:
        raise BuildError(
            f"The rows that {model.name} takes from {found.driving} are not all accounted for: {account}.",
            hint="Nothing was published. If the query gives another result each time it runs, mend that; otherwise "
            "this is a fault of MetaLayer: please report it with this line.",
            location=model.location,
        )
    return account
