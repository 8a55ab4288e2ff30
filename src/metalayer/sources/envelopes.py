"""From the body of a request to the records that an inbox stores: JSON, JSON Lines and CloudEvents.

Each record stays the text that was sent; only line ends between its tokens become blanks, so that a record is a line.
What is not well is refused whole, with the place that is wrong. Nothing here listens or stores.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote

from metalayer.core.errors import DeliveryError, Refusal
from metalayer.core.inbox import Delivery, Keyed

_JSON = frozenset({"application/json", "text/json"})
_LINES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
    }
)
_EVENT, _EVENTS = "application/cloudevents+json", "application/cloudevents-batch+json"
_LONGEST_KEY = 256
_BLANK = " \t\n\r"
_NO_LINE_ENDS = str.maketrans("\n\r", "  ")


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a request may be.

    Attributes:
        body: bytes of its body, unpacked.
        records: records in it.
    """

    body: int = 10 * 1024 * 1024
    records: int = 100_000


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_constant)


def opened(source: str, headers: Mapping[str, str], body: bytes, limits: Limits) -> Delivery:
    """Return what a request delivers to a table of bronze.

    Args:
        source: the table.
        headers: the request's, by their names in small letters.
        body: as it came.
        limits: how large it may be.

    Raises:
        DeliveryError: it is not well, too large, or of a type that is not taken.
    """
    given = headers.get("content-type", "")
    media, charset = _media(given)
    if charset not in {"", "utf-8", "utf8", "us-ascii"}:
        raise DeliveryError(
            f"The body is written in {charset}.",
            hint="Send it as UTF-8, and say so or say nothing: Content-Type: application/json",
            reason=Refusal.UNSUPPORTED,
        )
    content = _unpacked(headers.get("content-encoding", ""), body, limits)
    if "ce-specversion" in headers:
        return _binary_event(source, headers, media, content)
    text = _text(content)
    if media == _EVENT:
        return Delivery(source, given, keyed=(_event(_whole(text)[0], 1),))
    if media == _EVENTS:
        events = tuple(_event(item, number) for number, item in enumerate(_elements(text, limits), 1))
        return Delivery(source, given, keyed=events)
    if media in _LINES:
        records = list(_lines(text, limits))
    elif media in _JSON or media.endswith("+json"):
        records = list(_elements(text, limits)) if text.lstrip(_BLANK)[:1] == "[" else [_whole(text)[0]]
    else:
        said = f"The type '{media}' is not taken." if media else "The type of the body is not said."
        raise DeliveryError(
            said,
            hint="Send it with Content-Type: application/json, application/x-ndjson (a record a line) or "
            "application/cloudevents+json.",
            reason=Refusal.UNSUPPORTED,
        )
    return _with_key(Delivery(source, given, "\n".join(records), len(records)), headers.get("idempotency-key"))


def _with_key(delivery: Delivery, key: str | None) -> Delivery:
    """Return a delivery that has the key which its sender gave it."""
    if key is None or not delivery.records:
        return delivery
    plain = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not plain or len(plain) > _LONGEST_KEY or not plain.isprintable():
        raise _malformed(
            f"The Idempotency-Key is empty, longer than {_LONGEST_KEY} characters or not printable.",
            "Send one key of your own for each request, for example a UUID, and the same one when you send it again.",
        )
    keyed = Keyed(f"key {plain}", delivery.text, delivery.records, strict=True)
    return Delivery(delivery.source, delivery.content_type, keyed=(keyed,))


def _malformed(message: str, hint: str) -> DeliveryError:
    return DeliveryError(message, hint=hint, reason=Refusal.MALFORMED)


def _too_many(limits: Limits) -> DeliveryError:
    return DeliveryError(
        f"The request has more than {limits.records} records.",
        hint="Send them in several requests.",
        reason=Refusal.TOO_LARGE,
    )


def too_large(limits: Limits) -> DeliveryError:
    """Return the error that a body is too large."""
    return DeliveryError(
        f"The body is larger than {limits.body} bytes.",
        hint="Send the records in several requests; `metalayer inbox serve --max-body` sets the limit.",
        reason=Refusal.TOO_LARGE,
    )


# --- bodies -----------------------------------------------------------------------------------------------------------


def _media(header: str) -> tuple[str, str]:
    """Return the media type and the charset of a Content-Type.

    >>> _media('Application/JSON; charset="UTF-8"')
    ('application/json', 'utf-8')
    """
    media, *parameters = header.split(";")
    found = dict(item.strip().lower().partition("=")[::2] for item in parameters)
    return media.strip().lower(), found.get("charset", "").strip('"')


def _unpacked(encoding: str, body: bytes, limits: Limits) -> bytes:
    match encoding.strip().lower():
        case "" | "identity":
            if len(body) > limits.body:
                raise too_large(limits)
            return body
        case "gzip" | "x-gzip":
            unpacker = zlib.decompressobj(wbits=31)
            try:
                content = unpacker.decompress(body, limits.body + 1)
            except zlib.error as error:
                raise _malformed("The body is no gzip.", "Pack it whole, or send it as it is.") from error
            if len(content) > limits.body:
                raise too_large(limits)
            if not unpacker.eof or unpacker.unused_data:
                raise _malformed("The gzip of the body is cut off, or something follows it.", "Pack it whole.")
            return content
        case other:
            raise DeliveryError(
                f"The encoding '{other}' is not taken.", hint="Send it plain or as gzip.", reason=Refusal.UNSUPPORTED
            )


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"Byte {error.start + 1} of the body is no UTF-8.", "Send the body in UTF-8.") from error
    return text.removeprefix("\ufeff")


def _decoded(text: str, at: int, where: str) -> tuple[object, int]:
    """Return the JSON value that begins at a place, and where it ends."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        column = error.pos - text.rfind("\n", 0, error.pos)
        line = text.count("\n", 0, error.pos) + 1
        place = where if where.startswith("line") else f"{where}, line {line}"
        raise _malformed(
            f"{place}, column {column}: {error.msg}.", "Correct the JSON there; nothing was stored."
        ) from None
    except ValueError as error:
        raise _malformed(f"{where}: {error}.", "Correct the value there; nothing was stored.") from None
    except RecursionError:
        raise _malformed(f"{where}: it is nested too deeply.", "Send it flatter; nothing was stored.") from None


def _object(value: object, where: str) -> None:
    if not isinstance(value, dict):
        raise _malformed(
            f"{where}: it is {_kind(value)}, not an object.",
            'Send records as objects: {"id": 1}; nothing was stored.',
        )


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case _:
            return "an array"


def _flat(text: str) -> str:
    """Return a record on one line: a line's end in JSON stands between tokens, where a blank means the same."""
    return text.translate(_NO_LINE_ENDS) if "\n" in text or "\r" in text else text


def _whole(text: str) -> tuple[str, object]:
    """Return the one object that a text is, as text and as value."""
    begin = len(text) - len(text.lstrip(_BLANK))
    if begin == len(text):
        raise _malformed("The body is empty.", 'Send a record: {"id": 1}')
    value, end = _decoded(text, begin, "the body")
    rest = text[end:].strip(_BLANK)
    if rest:
        hint = "Send several records as an array, or a record a line with Content-Type: application/x-ndjson"
        raise _malformed("Something follows the JSON value of the body.", hint)
    _object(value, "the body")
    return _flat(text[begin:end]), value


def _elements(text: str, limits: Limits) -> Iterator[str]:
    """Yield the objects of an array as they were written."""
    at = _behind_blanks(text, 0)
    if text[at : at + 1] != "[":
        raise _malformed("The body is no array.", "Send the events as an array: [{…}, {…}]")
    at, number = _behind_blanks(text, at + 1), 0
    if text[at : at + 1] != "]":
        while True:
            number += 1
            if number > limits.records:
                raise _too_many(limits)
            value, end = _decoded(text, at, f"record {number}")
            _object(value, f"record {number}")
            yield _flat(text[at:end])
            at = _behind_blanks(text, end)
            sign = text[at : at + 1]
            if sign == "]":
                break
            if sign != ",":
                raise _malformed(
                    f"record {number}: neither a comma nor the array's end follows it.",
                    "Correct the JSON there; nothing was stored.",
                )
            at = _behind_blanks(text, at + 1)
    if text[at + 1 :].strip(_BLANK):
        raise _malformed("Something follows the array of the body.", "Send one array in a request.")


def _behind_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _lines(text: str, limits: Limits) -> Iterator[str]:
    """Yield the records of JSON Lines; blank lines are none."""
    found = 0
    for number, line in enumerate(text.split("\n"), 1):
        record = line.strip(_BLANK)
        if not record:
            continue
        found += 1
        if found > limits.records:
            raise _too_many(limits)
        value, end = _decoded(record, 0, f"line {number}")
        if end != len(record):
            raise _malformed(f"line {number}, column {end + 1}: something follows the value.", "Send a record a line.")
        _object(value, f"line {number}")
        yield _flat(record)
    if not found and not text.strip(_BLANK):
        raise _malformed("The body is empty.", 'Send a record a line: {"id": 1}')


# --- CloudEvents ------------------------------------------------------------------------------------------------------


def _event(text: str, number: int) -> Keyed:
    """Return an event in its structured form, with the key that it has by its source and id."""
    value = json.loads(text)
    if not isinstance(value, dict):  # pragma: no cover - whoever calls has seen that it is one
        raise TypeError(text)
    return Keyed(_event_key(value, f"event {number}"), text, 1)


def _event_key(attributes: Mapping[str, object], where: str) -> str:
    for name in ("specversion", "id", "source", "type"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise _malformed(
                f"{where} lacks the attribute '{name}'.",
                "Send id, source, type and specversion, which every CloudEvent has.",
            )
    if not str(attributes["specversion"]).startswith("1."):
        raise _malformed(
            f"{where} is of CloudEvents {attributes['specversion']}.", 'Send version 1.0: "specversion": "1.0"'
        )
    key = f"event {json.dumps([attributes['source'], attributes['id']], ensure_ascii=False)}"
    if len(key) > 4 * _LONGEST_KEY:
        raise _malformed(f"{where}: its id and source are longer than a key may be.", "Send shorter ones.")
    return key


def _binary_event(source: str, headers: Mapping[str, str], media: str, content: bytes) -> Delivery:
    """Return an event whose attributes are headers and whose body is its data, in its structured form."""
    attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    key = _event_key(attributes, "the event")
    members = [f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}" for name, value in attributes.items()]
    if headers.get("content-type"):
        members.append(f'"datacontenttype":{json.dumps(headers["content-type"], ensure_ascii=False)}')
    if content:
        members.append(_data(media, content))
    return Delivery(source, headers.get("content-type", ""), keyed=(Keyed(key, "{" + ",".join(members) + "}", 1),))


def _data(media: str, content: bytes) -> str:
    """Return the member that holds an event's data."""
    if media in _JSON or media.endswith("+json"):
        text = _text(content).strip(_BLANK)
        _, end = _decoded(text, 0, "the data")
        if end != len(text):
            raise _malformed("Something follows the JSON value of the data.", "Send one value.")
        return f'"data":{_flat(text)}'
    if media.startswith("text/"):
        return f'"data":{json.dumps(_text(content), ensure_ascii=False)}'
    return f'"data_base64":"{base64.b64encode(content).decode()}"'
