"""The macros that ship, each with what it takes and makes, and examples: their page of reference is made of these."""

# ruff: noqa: RUF001 - signs stand here as people write them

from __future__ import annotations

from collections.abc import Mapping

from metalayer.core.sql import cleaning
from metalayer.core.sql.cleaning import Shipped
from metalayer.core.sql.macros import Macro

SHIPPED: tuple[Shipped, ...] = (
    Shipped(
        "clean_text",
        ("value",),
        cleaning.clean_text,
        "varchar",
        "Composed to NFC, without signs that are not seen (soft hyphens, zero width, marks of "
        "direction), every run of "
        "blanks of any kind one blank, none at the ends; empty is NULL.",
        ((r"clean_text('  A' || chr(160) || ' B' || chr(8203) || chr(10))", "'A B'"), ("clean_text(' ')", "NULL")),
    ),
    Shipped(
        "clean_null",
        ("value",),
        cleaning.clean_null,
        "varchar",
        "NULL where the text is empty or a word that says that there is no value, in any case; else "
        "the text as it is. "
        "Further words may follow.",
        (
            ("clean_null(' N/A ')", "NULL"),
            ("clean_null('tbd', 'tbd', 'wip')", "NULL"),
            ("clean_null('Nadia')", "'Nadia'"),
        ),
        rest="'word'",
    ),
    Shipped(
        "clean_lower",
        ("value",),
        cleaning.clean_lower,
        "varchar",
        "`clean_text` in small letters.",
        (("clean_lower(' ÄRA  X')", "'ära x'"),),
    ),
    Shipped(
        "clean_upper",
        ("value",),
        cleaning.clean_upper,
        "varchar",
        "`clean_text` in capitals.",
        (("clean_upper(' de ')", "'DE'"),),
    ),
    Shipped(
        "clean_title",
        ("value",),
        cleaning.clean_title,
        "varchar",
        "`clean_text` with each word's first letter a capital and the others small.",
        (
            ("clean_title('ANNA-LENA o''brien  müller')", "'Anna-Lena O''Brien Müller'"),
            ("clean_title('the cat''s')", "'The Cat''s'"),
        ),
    ),
    Shipped(
        "match_key",
        ("value",),
        cleaning.match_key,
        "varchar",
        "Small letters without accents, and digits, nothing else: for finding what is written in several ways.",
        (("match_key('Café Straße, 12')", "'cafestrasse12'"), ("match_key('Łódź')", "'lodz'")),
    ),
    Shipped(
        "parse_number",
        ("value", "locale", "type"),
        cleaning.parse_number,
        "the type, else decimal(38,10)",
        "A number as the locale writes it: its decimal sign, groups of three digits by its sign or a blank, any "
        "minus sign, one behind, or parentheses. Grouped otherwise it is NULL, not a guess. `type` rounds; one of "
        "at most 18 digits is read several times as fast.",
        (
            ("parse_number('1.234,56', 'de')", "1234.56"),
            ("parse_number('1’234.5', 'de-CH')", "1234.5"),
            ("parse_number('(1,234)', 'en-US', 'bigint')", "-1234"),
            ("parse_number('12.34', 'de')", "NULL"),
        ),
        optional=("type",),
    ),
    Shipped(
        "parse_money",
        ("value", "locale", "type"),
        cleaning.parse_money,
        "the type, else decimal(38,10)",
        "`parse_number` less a sign, code or abbreviation of a currency before or behind it, and a Swiss `.–`.",
        (("parse_money('€ 1.234,50', 'de')", "1234.5"), ("parse_money('CHF 12.–', 'de-CH')", "12")),
        optional=("type",),
    ),
    Shipped(
        "parse_percent",
        ("value", "locale"),
        cleaning.parse_percent,
        "decimal(24,10)",
        "`parse_number` with or without a percent sign, as a share: 12,5 % is 0.125.",
        (("parse_percent('12,5 %', 'de')", "0.125"),),
    ),
    Shipped(
        "parse_boolean",
        ("value",),
        cleaning.parse_boolean,
        "boolean",
        "Yes and no, true and false, on and off, 1 and 0 in English, German, French, Italian, Spanish, Portuguese.",
        (("parse_boolean(' Ja ')", "true"), ("parse_boolean('N')", "false"), ("parse_boolean('maybe')", "NULL")),
    ),
    Shipped(
        "parse_date",
        ("value", "locale", "pivot"),
        cleaning.parse_date,
        "date",
        "A date in the locale's order with `.`, `/`, `-` between its parts, or as ISO, with or "
        "without signs; months "
        "in English words too. Years of two digits up to `pivot` (68) are 20…, the others 19…. What "
        "is no day of the "
        "calendar is NULL.",
        (
            ("parse_date('3.1.26', 'de')", "DATE '2026-01-03'"),
            ("parse_date('1/31/2026', 'en-US')", "DATE '2026-01-31'"),
            ("parse_date('31/1/2026', 'en-US')", "NULL"),
            ("parse_date('1.1.45', 'de', 30)", "DATE '1945-01-01'"),
        ),
        optional=("pivot",),
    ),
    Shipped(
        "parse_timestamp",
        ("value", "locale", "pivot"),
        cleaning.parse_timestamp,
        "timestamp",
        "`parse_date` with a time behind it or none: `9:05`, `09:05:30.25`, `9:05 PM`. It is the "
        "time on the wall: "
        "`parse_timestamp(…) AT TIME ZONE 'Europe/Berlin'` makes it a moment.",
        (
            ("parse_timestamp('3.1.2026 9:05', 'de')", "TIMESTAMP '2026-01-03 09:05:00'"),
            ("parse_timestamp('1/3/2026 9:05 PM', 'en-US')", "TIMESTAMP '2026-01-03 21:05:00'"),
        ),
        optional=("pivot",),
    ),
    Shipped(
        "normalize_email",
        ("value",),
        cleaning.normalize_email,
        "varchar",
        "The address in small letters, also out of `mailto:` or `Name <address>`; what has not the "
        "form of one is NULL.",
        (("normalize_email('Ana <Ana@Example.ORG> ')", "'ana@example.org'"), ("normalize_email('ana@x')", "NULL")),
    ),
    Shipped(
        "normalize_phone",
        ("value", "country"),
        cleaning.normalize_phone,
        "varchar",
        "The number as E.164, read as one of the country where it has no calling code; extensions "
        "are left out. "
        "Whether the number is given to anybody is not known.",
        (
            ("normalize_phone('044 668 18 00', 'CH')", "'+41446681800'"),
            ("normalize_phone('+49 (0)30 / 901820', 'CH')", "'+4930901820'"),
            ("normalize_phone('n/a', 'CH')", "NULL"),
        ),
    ),
    Shipped(
        "normalize_country",
        ("value",),
        cleaning.normalize_country,
        "varchar",
        "The two letters of ISO 3166-1, of two letters, three, the number of three digits, or a name "
        "in English, "
        "German, French, Italian or Spanish.",
        (
            ("normalize_country('Österreich')", "'AT'"),
            ("normalize_country('usa')", "'US'"),
            ("normalize_country('756')", "'CH'"),
            ("normalize_country('Atlantis')", "NULL"),
        ),
    ),
    Shipped(
        "normalize_currency",
        ("value", "dollar"),
        cleaning.normalize_currency,
        "varchar",
        "The three letters of ISO 4217, of these or an unambiguous sign; `$` is one where `dollar` says whose.",
        (
            ("normalize_currency(' eur')", "'EUR'"),
            ("normalize_currency('SFr.')", "'CHF'"),
            ("normalize_currency('$')", "NULL"),
            ("normalize_currency('$', 'USD')", "'USD'"),
        ),
        optional=("dollar",),
    ),
    Shipped(
        "convert_unit",
        ("value", "from_unit", "to_unit"),
        cleaning.convert_unit,
        "double",
        "A quantity in another unit of its kind.",
        (("convert_unit(10, 'lb', 'kg')", "4.5359237"), ("convert_unit(212, 'F', 'C')", "100")),
    ),
)

MACROS: Mapping[str, Macro] = {macro.name: macro for macro in SHIPPED}
"""The macros that ship, by name."""
