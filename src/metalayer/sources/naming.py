"""From the names that files give to columns to the names that tables give: pure functions over text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_WORDS = (
    (re.compile(r"([A-Z]+)([A-Z][a-z])"), r"\1_\2"),
    (re.compile(r"([a-z\d])([A-Z])"), r"\1_\2"),
    (re.compile(r"[^a-z0-9]+", re.IGNORECASE), "_"),
)


def column_name(header: str) -> str:
    """Return a header as snake_case, or an empty string where nothing readable is left.

    >>> [column_name(text) for text in ("InvoiceNo", "CustomerID", "Unit Price (€)", "Größe", "2010", "_id", "#")]
    ['invoice_no', 'customer_id', 'unit_price', 'groesse', 'n_2010', 'id', '']
    """
    text = header.strip().translate(_FOLD)
    text = "".join(part for part in unicodedata.normalize("NFKD", text) if not unicodedata.combining(part))
    for pattern, replacement in _WORDS:
        text = pattern.sub(replacement, text)
    text = text.strip("_").lower()
    return f"n_{text}" if text[:1].isdigit() else text


_FOLD = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "o", "Ø": "O"})


def labels(headers: Sequence[str]) -> tuple[str, ...]:
    """Return the headers, each told apart: an empty one by its place, a repeated one by a number.

    >>> labels(["id", "", "id", "id_2"])
    ('id', 'column_2', 'id_2', 'id_2_2')
    """
    found: list[str] = []
    taken: set[str] = set()
    for place, header in enumerate(headers, start=1):
        name = _free(header.strip() or f"column_{place}", taken)
        taken.add(name)
        found.append(name)
    return tuple(found)


def column_names(headers: Iterable[str], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """Return names for new columns, none of them taken.

    >>> column_names(["Order ID", "orderId", "?"], taken=["x"])
    ('order_id', 'order_id_2', 'column_3')
    """
    used = {name.lower() for name in taken}
    found: list[str] = []
    for place, header in enumerate(headers, start=1):
        name = _free(column_name(header) or f"column_{place}", used)
        used.add(name)
        found.append(name)
    return tuple(found)


def _free(name: str, taken: set[str]) -> str:
    number = 2
    candidate = name
    while candidate in taken:
        candidate = f"{name}_{number}"
        number += 1
    return candidate
