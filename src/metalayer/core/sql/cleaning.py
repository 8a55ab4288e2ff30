"""The macros that ship: what every silver layer needs to clean values, as plain SQL of DuckDB's.

The rule of all: a value that cannot be read as what it should be becomes NULL, never something near; NULL stays NULL.
So a check `not_null` on the result, with `on_fail: quarantine`, keeps what could not be read. Each uses its value once,
so that calls within calls cost no more than their sum. What decides how a value is read (a locale, a country, a unit)
is a literal: it is known when the SQL is written, and what runs is made for it.
"""

# ruff: noqa: RUF001 - signs stand here as people write them

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from metalayer.core.errors import did_you_mean
from metalayer.core.names import literal
from metalayer.core.sql import territories
from metalayer.core.sql.conventions import FALSE_WORDS, LOCALES, NULL_WORDS, TEMPERATURES, TRUE_WORDS, UNITS, Locale
from metalayer.core.sql.macros import Argument, MacroError


@dataclass(frozen=True, slots=True)
class Shipped:
    """A macro that ships: what it takes, what it makes, and what a reader of its page should know.

    ``examples`` are calls and what they give, each as SQL.
    """

    name: str
    parameters: tuple[str, ...]
    make: Callable[[Mapping[str, Argument], Sequence[Argument]], str]
    returns: str
    says: str
    examples: tuple[tuple[str, str], ...]
    optional: tuple[str, ...] = ()
    rest: str = ""

    def expand(self, given: Mapping[str, Argument], more: Sequence[Argument]) -> str:
        """Return the expression."""
        missing = next((name for name in self.parameters if name not in given and name not in self.optional), None)
        if missing is not None:
            raise MacroError(f"{self.name} needs '{missing}'.", hint=f"Write {self.call}.")
        if more and not self.rest:
            raise MacroError(f"{self.name} takes {len(self.parameters)} arguments.", hint=f"Write {self.call}.")
        return self.make(given, more)

    @property
    def call(self) -> str:
        """Return how it is called; what may be left out in brackets."""
        words = [f"[{name}]" if name in self.optional else name for name in self.parameters]
        return f"{self.name}({', '.join([*words, *([f'[{self.rest} …]'] if self.rest else [])])})"


def _chosen(given: Mapping[str, Argument], name: str, known: Mapping[str, object] | Sequence[str], what: str) -> str:
    """Return the literal that an argument holds, which must be one of those that are known.

    Raises:
        MacroError: it is no literal, or not known.
    """
    place = list(given).index(name)
    text = given[name].literal
    if text is None:
        raise MacroError(
            f"The {what} is not a text in quotes.",
            hint="It decides what SQL is written, so it cannot be a column: write it out, for example "
            f"{literal(next(iter(known)))}.",
            argument=place,
        )
    found = next((key for key in known if key.lower() == text.lower().replace("_", "-") or key == text), None)
    if found is None:
        listed = ", ".join(known) if len(known) < 60 else f"{', '.join(list(known)[:12])} …"
        raise MacroError(
            f"There is no {what} '{text}'.", hint=f"{did_you_mean(text, known)}Known: {listed}.", argument=place
        )
    return found


def _varchar(given: Mapping[str, Argument]) -> str:
    return f"CAST({given['value'].sql} AS VARCHAR)"


def _extracted(value: str, pattern: str) -> str:
    """Return SQL of the text where it fits the pattern, else of an empty one."""
    return f"regexp_extract({value}, {literal(pattern)})"


def _replaced(value: str, pattern: str, by: str, flags: str = "") -> str:
    more = f", {literal(flags)}" if flags else ""
    return f"regexp_replace({value}, {literal(pattern)}, {literal(by)}{more})"


# Text

_HIDDEN = r"[\x{00AD}\x{180E}\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{2066}-\x{2069}\x{FEFF}]+"
_BLANKS = r"[\pZ\p{Cc}]+"


def _text(value: str) -> str:
    """Return SQL: composed, without what is not seen, blanks of all kinds as one, none at the ends."""
    return (
        f"trim({_replaced(_replaced(f'nfc_normalize(CAST({value} AS VARCHAR))', _HIDDEN, '', 'g'), _BLANKS, ' ', 'g')})"
    )


def clean_text(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `clean_text`."""
    return f"nullif({_text(given['value'].sql)}, '')"


def clean_null(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:
    """Return the SQL of `clean_null`."""
    words = [*NULL_WORDS]
    for place, item in enumerate(more, start=1):
        if item.literal is None:
            raise MacroError("A word for NULL is not a text in quotes.", hint="Write it out: 'tbd'.", argument=place)
        words.append(item.literal.lower())
    pattern = rf"(?i)^[\pZ\p{{Cc}}]*(?:{'|'.join(re.escape(word) for word in dict.fromkeys(words))})?[\pZ\p{{Cc}}]*$"
    return f"nullif({_replaced(_varchar(given), pattern, '')}, '')"


def clean_lower(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:
    """Return the SQL of `clean_lower`."""
    return f"lower({clean_text(given, more)})"


def clean_upper(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:
    """Return the SQL of `clean_upper`."""
    return f"upper({clean_text(given, more)})"


def clean_title(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:
    """Return the SQL of `clean_title`."""
    words = literal(r"[\pL\pM\pN]+(?:['’](?:s|t|re|ll|ve|d|m)(?:\b|$))?|[^\pL\pM\pN]+")
    parts = f"regexp_extract_all({clean_lower(given, more)}, {words})"
    return f"array_to_string(list_transform({parts}, lambda word: upper(word[1]) || word[2:]), '')"


def _key(value: str) -> str:
    plain = f"translate(lower(CAST({value} AS VARCHAR)), 'øłđı', 'oldi')"
    for written, means in (("ß", "ss"), ("æ", "ae"), ("œ", "oe")):
        plain = f"replace({plain}, '{written}', '{means}')"
    return _replaced(f"strip_accents({plain})", r"[^\pL\pN]+", "", "g")


def match_key(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `match_key`."""
    return f"nullif({_key(given['value'].sql)}, '')"


# Numbers, truth

_SIGNS = ("−–‒＋’‘`´＇\u00a0\u2007\u2009\u202f", "---+'''''    ")
_TYPE = re.compile(
    r"(?:decimal\(\d{1,2}, ?\d{1,2}\)|double|float|real|bigint|integer|int|smallint|hugeint)", re.IGNORECASE
)


def _type(given: Mapping[str, Argument], default: str) -> str:
    if "type" not in given:
        return default
    text = given["type"].literal or ""
    if not _TYPE.fullmatch(text):
        raise MacroError(
            f"'{text}' is not a type of numbers.",
            hint="Write it in quotes: 'decimal(12,2)', 'bigint' or 'double'.",
            argument=list(given).index("type"),
        )
    return text.upper()


def _number(value: str, locale: Locale, type_: str, name: str = "") -> str:
    """Return SQL that reads a number as a locale writes it, or NULL.

    Digits are grouped by threes (in India by twos before the last three) or not at all: what is grouped otherwise was
    written by somebody who meant something else.
    """
    group = f"[ {re.escape(locale.groups)}]" if locale.groups else ""
    digits = r"\d+"
    if group:
        digits = (
            rf"\d{{1,2}}(?:{group}\d\d)*{group}\d{{3}}|\d{{1,3}}(?:{group}\d{{3}})+|\d+"
            if name == "en-IN"
            else rf"\d{{1,3}}(?:{group}\d{{3}})+|\d+"
        )
    decimal = re.escape(locale.decimal)
    text = f"trim(translate(CAST({value} AS VARCHAR), {literal(_SIGNS[0])}, {literal(_SIGNS[1])}))"
    text = _replaced(_replaced(text, r"^\(([^()-]*)\)$", r"-\1"), r"^([^-]*\d[.,]?) ?-$", r"-\1")
    text = _extracted(text, rf"^[-+]? ?(?:(?:{digits})(?:{decimal}\d*)?|{decimal}\d+)$")
    idle = re.escape(locale.groups) + " "
    text = _replaced(text, f"[{idle}]", "", "g")
    if locale.decimal != ".":
        text = f"replace({text}, {literal(locale.decimal)}, '.')"
    return f"TRY_CAST({text} AS {type_})"


def parse_number(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `parse_number`."""
    name = _chosen(given, "locale", LOCALES, "locale")
    return _number(given["value"].sql, LOCALES[name], _type(given, "DECIMAL(38, 10)"), name)


def parse_money(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `parse_money`."""
    name = _chosen(given, "locale", LOCALES, "locale")
    sign = r"(?:(?:[A-Z]{2,3})?\p{Sc}|[A-Za-z]{3}|S?Fr\.?|zł|Kč|Ft|kr\.?)"
    text = f"trim({_replaced(_varchar(given), _BLANKS, ' ', 'g')})"
    text = _replaced(text, rf"^([-−–(]?) ?{sign} ?", r"\1")
    text = _replaced(text, rf" ?{sign}(\)?-?)$", r"\1")
    text = _replaced(text, r"[.,][-−–—]{1,2}$", "")
    return _number(text, LOCALES[name], _type(given, "DECIMAL(38, 10)"), name)


def parse_percent(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `parse_percent`."""
    name = _chosen(given, "locale", LOCALES, "locale")
    text = _replaced(_varchar(given), r"[\pZ]*%[\pZ]*$", "")
    return f"CAST({_number(text, LOCALES[name], 'DECIMAL(24, 8)', name)} * 0.01 AS DECIMAL(24, 10))"


def parse_boolean(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `parse_boolean`."""
    text = f"lower({_text(given['value'].sql)})"
    for words, means in ((TRUE_WORDS, "true"), (FALSE_WORDS, "false")):
        text = _replaced(text, f"^(?:{'|'.join(words)})$", means)
    return f"TRY_CAST({text} AS BOOLEAN)"


# Dates


def _pivot(given: Mapping[str, Argument]) -> int:
    if "pivot" not in given:
        return 68
    text = given["pivot"].text
    if not re.fullmatch(r"\d{1,2}", text):
        raise MacroError(
            "The pivot is not a number from 0 to 99.",
            hint="It is the last year of two digits that is read as 20…: with 30, 30 is 2030 and 31 is 1931.",
            argument=list(given).index("pivot"),
        )
    return int(text)


def _moment(given: Mapping[str, Argument], times: Sequence[str]) -> str:
    """Return SQL that reads a date, with one of some forms of time behind it, or NULL."""
    order = LOCALES[_chosen(given, "locale", LOCALES, "locale")].order
    text = f"trim({_replaced(_varchar(given), _BLANKS, ' ', 'g')})"
    text = _replaced(text, r"^(\d{4}-\d\d-\d\d)T(\d)", r"\1 \2")
    text = _replaced(text, r"^(\d{1,4}) ?[./-] ?(\d{1,2}) ?[./-] ?(\d{1,4})\.?($|[ ,])", r"\1-\2-\3\4")
    text = _replaced(text, r"^(\d{4})(\d\d)(\d\d)($| )", r"\1-\2-\3\4")
    soon = "|".join(f"{year:02}" for year in range(_pivot(given) + 1))
    if order == "YMD":
        century = [
            (rf"^({soon})-(\d{{1,2}}-\d{{1,2}})($|[ ,])", r"20\1-\2\3"),
            (r"^(\d\d)-(\d{1,2}-\d{1,2})($|[ ,])", r"19\1-\2\3"),
        ]
    else:
        century = [
            (rf"^(\d{{1,2}}-\d{{1,2}})-({soon})($|[ ,])", r"\1-20\2\3"),
            (r"^(\d{1,2}-\d{1,2})-(\d\d)($|[ ,])", r"\1-19\2\3"),
        ]
    for pattern, by in century:
        text = _replaced(text, pattern, by)
    day = r"\d{1,2}-\d{1,2}-\d{4}|\d{4}-\d{1,2}-\d{1,2}|\d{1,2}\.? [A-Za-z]+\.? \d{4}|[A-Za-z]+\.? \d{1,2},? \d{4}"
    shapes = rf"^(?:{day})(?:[ ,].*)?$"
    text = _replaced(_extracted(text, shapes), r"[,.] ", " ", "g")
    days = {"DMY": ["%d-%m-%Y"], "MDY": ["%m-%d-%Y"], "YMD": []}[order]
    days += ["%Y-%m-%d", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y"]
    forms = ", ".join(literal(day + time) for time in times for day in days)
    return f"try_strptime({text}, [{forms}])"


def parse_date(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `parse_date`."""
    return f"CAST({_moment(given, ('',))} AS DATE)"


def parse_timestamp(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `parse_timestamp`."""
    times = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
    return _moment(given, times)


# People and places


def normalize_email(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `normalize_email`."""
    atom = r"[^\s@<>\"(),:;\\\[\].]+"
    label = r"[\pL\pN]+(?:-+[\pL\pN]+)*"
    address = rf"^(?:mailto:)?(?:[^<>@]*<)?({atom}(?:\.{atom})*@(?:{label}\.)+\pL[\pL\pN-]*[\pL\pN])>?$"
    return f"nullif(regexp_extract(lower({_text(given['value'].sql)}), {literal(address)}, 1), '')"


_KEEPS_ZERO = frozenset({"IT", "SM", "VA"})


def normalize_phone(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `normalize_phone`."""
    known = territories.calling()
    country = _chosen(given, "country", sorted(known), "country")
    code, trunk = known[country]
    text = _replaced(_text(given["value"].sql), r"(?i)[ ,;]*(?:ext\.?|extension|x|dw\.?|durchwahl|#) ?\d{1,6}$", "")
    text = _replaced(text, r"(?i)^(?:tel\.?:?|phone:?|tel:) ?", "")
    text = _extracted(text, r"^[+(]?[ \d()./+–‑−-]*$")
    text = _replaced(text, r"^(\(?(?:\+|00)[\d ./()-]*?)\(0\)", r"\1")
    text = _replaced(text, r"[^\d+]", "", "g")
    text = _replaced(text, r"^00" if code != "1" else r"^(?:011|00)", "+")
    if trunk and country not in _KEEPS_ZERO:
        text = _replaced(text, rf"^\+{code}{trunk}(\d{{6,}})$", rf"+{code}\1") if trunk not in {"1", code} else text
        text = _replaced(text, rf"^{trunk}(\d{{4,}})$", rf"+{code}\1")
    text = _replaced(text, r"^(\d{4,})$", rf"+{code}\1")
    exact = r"^\+(?:1[2-9]\d{9}|[2-9]\d{6,14})$"
    return f"nullif({_extracted(text, exact)}, '')"


def _found(key: str, text: str, width: int) -> str:
    """Return SQL that finds what stands behind ``;key=`` in a constant text."""
    # The engine works out once what stands twice; to look for the place is half the work of cutting the text there.
    wanted, within = f"';' || {key} || '='", literal(text)
    return f"substr({within}, nullif(strpos({within}, {wanted}), 0) + length({wanted}), {width})"


def normalize_country(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `normalize_country`."""
    return _found(f"nullif({_key(given['value'].sql)}, '')", territories.countries(), 2)


def normalize_currency(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `normalize_currency`."""
    key = _replaced(f"upper(CAST({given['value'].sql} AS VARCHAR))", r"[\pZ\p{Cc}.;=]+", "", "g")
    text = territories.currencies()
    if "dollar" in given:
        code = _chosen(given, "dollar", ["USD", "CAD", "AUD", "NZD", "HKD", "SGD", "MXN"], "dollar")
        text += f"$={code};"
    return _found(f"nullif({key}, '')", text, 3)


def convert_unit(given: Mapping[str, Argument], more: Sequence[Argument]) -> str:  # noqa: ARG001 - the shape of all
    """Return the SQL of `convert_unit`."""
    kinds = {unit: kind for kind, units in UNITS.items() for unit in units} | dict.fromkeys(TEMPERATURES, "temperature")
    source, target = given["from_unit"].literal, given["to_unit"].literal
    for name, unit in (("from_unit", source), ("to_unit", target)):
        if unit not in kinds:
            raise MacroError(
                f"There is no unit '{given[name].text}'." if unit is None else f"There is no unit '{unit}'.",
                hint=f"{did_you_mean(unit or '', kinds)}Known, in quotes: {', '.join(kinds)}.",
                argument=list(given).index(name),
            )
    if kinds[source or ""] != kinds[target or ""]:
        raise MacroError(
            f"'{source}' is a unit of {kinds[source or '']} and '{target}' one of {kinds[target or '']}.",
            hint=f"Convert into one of {', '.join(unit for unit in kinds if kinds[unit] == kinds[source or ''])}.",
            argument=list(given).index("to_unit"),
        )
    value = f"CAST({given['value'].sql} AS DOUBLE)"
    if kinds[source or ""] != "temperature":
        units = UNITS[kinds[source or ""]]
        return f"({value}{_scaled(_exact(units[source or '']) / _exact(units[target or '']))})"
    (ratio, zero), (to_ratio, to_zero) = TEMPERATURES[source or ""], TEMPERATURES[target or ""]
    before, after = zero - to_zero * to_ratio / ratio, zero * ratio / to_ratio - to_zero
    if set(_primes(before.denominator)) <= {2, 5}:  # the one of the two that has an end
        return f"(({value} + {float(before)!r}e0){_scaled(ratio / to_ratio)})"
    return f"({value}{_scaled(ratio / to_ratio)} + {float(after)!r}e0)"


def _exact(size: float | str) -> Fraction:
    return Fraction(size if isinstance(size, str) else repr(size))


def _scaled(ratio: Fraction) -> str:
    """Return the SQL that multiplies by a ratio, rounded once."""
    by = "" if ratio.numerator == 1 else f" * {ratio.numerator}e0"
    return by if ratio.denominator == 1 else f"{by} / {ratio.denominator}e0"


def _primes(number: int) -> Iterator[int]:
    found = 2
    while number > 1:
        while number % found == 0:
            yield found
            number //= found
        found += 1
