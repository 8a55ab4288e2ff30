"""Facts that values are cleaned by: how places write numbers and dates, words for nothing, yes and no, sizes of units.

Nothing here writes SQL: that is `cleaning`'s.
"""

# ruff: noqa: RUF001 - signs stand here as people write them

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Locale:
    """How a place writes numbers and dates: the decimal sign, what groups digits, and the order of a date's parts."""

    decimal: str
    groups: str
    order: str


_LOCALES: Mapping[str, Locale] = {
    "de": Locale(",", ".", "DMY"),
    "de-AT": Locale(",", ".", "DMY"),
    "de-CH": Locale(".", "'", "DMY"),
    "en": Locale(".", ",", "MDY"),
    "en-US": Locale(".", ",", "MDY"),
    "en-GB": Locale(".", ",", "DMY"),
    "en-IN": Locale(".", ",", "DMY"),
    "fr": Locale(",", ".", "DMY"),
    "fr-CH": Locale(".", "'", "DMY"),
    "it": Locale(",", ".", "DMY"),
    "it-CH": Locale(".", "'", "DMY"),
    "es": Locale(",", ".", "DMY"),
    "pt": Locale(",", ".", "DMY"),
    "nl": Locale(",", ".", "DMY"),
    "pl": Locale(",", ".", "DMY"),
    "cs": Locale(",", ".", "DMY"),
    "da": Locale(",", ".", "DMY"),
    "nb": Locale(",", ".", "DMY"),
    "fi": Locale(",", ".", "DMY"),
    "sv": Locale(",", ".", "YMD"),
    "hu": Locale(",", ".", "YMD"),
    "tr": Locale(",", ".", "DMY"),
    "ja": Locale(".", ",", "YMD"),
    "zh": Locale(".", ",", "YMD"),
    "iso": Locale(".", "", "YMD"),
}
_HOME = {
    "de": ("DE",), "fr": ("FR",), "it": ("IT",), "es": ("ES",), "pt": ("PT", "BR"), "nl": ("NL",), "pl": ("PL",),
    "cs": ("CZ",), "da": ("DK",), "nb": ("NO",), "fi": ("FI",), "sv": ("SE",), "hu": ("HU",), "tr": ("TR",),
    "ja": ("JP",), "zh": ("CN",), "en-GB": ("AU", "IE", "NZ"),
}  # fmt: skip
LOCALES: Mapping[str, Locale] = {
    **_LOCALES,
    **{f"{name[:2]}-{place}": _LOCALES[name] for name, places in _HOME.items() for place in places},
}
"""By the facts of CLDR; a blank (a narrow one, one that does not break) groups digits everywhere but in `iso`."""

NULL_WORDS = (
    "-", "--", "---", "–", "—", ".", "?", "??", "n/a", "n.a.", "na", "#n/a", "nan", "null", "(null)", "<null>", "nil",
    "none", "\\n", "unknown", "not available", "unbekannt", "k.a.", "k. a.", "keine angabe", "inconnu", "n.d.", "s/d",
)  # fmt: skip
"""Words that say that there is no value."""

TRUE_WORDS = (
    "true",
    "t",
    "yes",
    "y",
    "1",
    "on",
    "x",
    "ja",
    "j",
    "wahr",
    "oui",
    "vrai",
    "si",
    "sì",
    "sí",
    "vero",
    "sim",
)
FALSE_WORDS = ("false", "f", "no", "n", "0", "off", "nein", "falsch", "non", "faux", "falso", "não", "nao")

_METRE = {"m": 1, "km": 1000, "dm": 0.1, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048, "yd": 0.9144}
_METRE |= {"mi": 1609.344, "nmi": 1852}
_GRAM = {"g": 1, "kg": 1000, "mg": 0.001, "t": 1_000_000, "lb": 453.59237, "oz": 28.349523125, "st": 6350.29318}
_LITRE = {"l": 1, "hl": 100, "dl": 0.1, "cl": 0.01, "ml": 0.001, "m3": 1000, "us_gal": 3.785411784}
_LITRE |= {"uk_gal": 4.54609, "us_fl_oz": 0.0295735295625, "uk_pt": 0.56826125, "us_pt": 0.473176473}
_SQUARE = {"m2": 1, "km2": 1_000_000, "ha": 10_000, "a": 100, "cm2": 0.0001, "ft2": 0.09290304, "acre": 4046.8564224}
_JOULE = {"J": 1, "kJ": 1000, "MJ": 1e6, "Wh": 3600, "kWh": 3.6e6, "MWh": 3.6e9, "kcal": 4184, "BTU": 1055.05585262}
_SECOND = {"s": 1, "ms": 0.001, "min": 60, "h": 3600, "d": 86400, "wk": 604800}
_BYTE = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SPEED: Mapping[str, float | str] = {"m/s": 1, "km/h": "10/36", "mph": 0.44704, "kn": "1852/3600"}
_PASCAL = {"Pa": 1, "hPa": 100, "kPa": 1000, "bar": 100_000, "mbar": 100, "psi": 6894.757293168, "atm": 101_325}
UNITS: Mapping[str, Mapping[str, float | str]] = {
    "length": _METRE, "mass": _GRAM, "volume": _LITRE, "area": _SQUARE, "energy": _JOULE, "time": _SECOND,
    "data": _BYTE, "speed": _SPEED, "pressure": _PASCAL,
}  # fmt: skip
"""Each unit's size in the first of its kind."""

TEMPERATURES = {
    "C": (Fraction(1), Fraction("273.15")),
    "K": (Fraction(1), Fraction(0)),
    "F": (Fraction(5, 9), Fraction("459.67")),
}
"""What a degree is in kelvin, and how many of them lie below zero."""
