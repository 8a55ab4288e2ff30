"""What a request delivers: which bodies are taken, what is stored of them, and what is said of those that are not."""

from __future__ import annotations

import gzip
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.core.errors import DeliveryError, Refusal
from metalayer.core.inbox import Delivery
from metalayer.sources.envelopes import Limits, opened

JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}
EVENT = {"specversion": "1.0", "id": "1", "source": "/till", "type": "sold"}


def deliver(body: bytes | str, headers: dict[str, str] = JSON, limits: Limits | None = None) -> Delivery:
    content = body.encode() if isinstance(body, str) else body
    return opened("bronze.sales", headers, content, limits or Limits())


def refusal(body: bytes | str, headers: dict[str, str] = JSON, limits: Limits | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        deliver(body, headers, limits)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("headers", "body", "text", "records"),
    [
        (JSON, '{"a": 1}', '{"a": 1}', 1),
        (JSON, '\ufeff \n{"a":\n 1.10}\n', '{"a":  1.10}', 1),
        (JSON, '[{"a": 1}, {"a":\r\n2}]', '{"a": 1}\n{"a":  2}', 2),
        (JSON, " [ ] ", "", 0),
        ({"content-type": 'application/vnd.sale+json; charset="UTF-8"'}, '{"a": "é"}', '{"a": "é"}', 1),
        (LINES, '{"a": 1}\r\n\n {"a": 2}', '{"a": 1}\n{"a": 2}', 2),
        (LINES, '{"a": "\\u2028"}\n{"b": "\u2028"}', '{"a": "\\u2028"}\n{"b": "\u2028"}', 2),
    ],
)
def test_records_stay_the_text_that_was_sent(headers: dict[str, str], body: str, text: str, records: int) -> None:
    found = deliver(body, headers)
    assert (found.text, found.records, found.keyed) == (text, records, ())
    assert (found.total, found.size) == (records, len(text))


OBJECTS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()))


@given(rows=st.lists(OBJECTS, min_size=1), indent=st.sampled_from([None, 1, "\t"]), ascii_=st.booleans())
def test_whatever_is_sent_is_stored_a_record_a_line(
    rows: list[object], indent: int | str | None, *, ascii_: bool
) -> None:
    body = json.dumps(rows, indent=indent, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
    try:
        body.decode()
    except UnicodeDecodeError:
        assert refusal(body).reason is Refusal.MALFORMED
        return
    stored = deliver(body)
    assert [json.loads(line) for line in stored.text.split("\n")] == rows
    assert deliver("\n".join(map(json.dumps, rows)), LINES).records == len(rows)


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        (JSON, "", "The body is empty."),
        (LINES, " \n", "The body is empty."),
        (JSON, '{"a": 1} {"a": 2}', "Something follows the JSON value"),
        (JSON, '[{"a": 1}] x', "Something follows the array"),
        (JSON, '[{"a": 1} {"a": 2}]', "record 1: neither a comma"),
        (JSON, '[{"a": 1},]', "record 2, line 1, column 11"),
        (JSON, '{"a": 1', "the body, line 1"),
        (JSON, '[{"a": 1},\n {"a": nul}]', "record 2, line 2, column 8"),
        (JSON, '[{"a": 1}, 2]', "record 2: it is a number, not an object."),
        (JSON, "null", "the body: it is null"),
        (JSON, '"x"', "it is a text"),
        (JSON, '{"a": NaN}', "NaN is no JSON value"),
        (JSON, '{"a": ' + "9" * 5000 + "}", "the body: Exceeds the limit"),
        (JSON, '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        (JSON, b'{"a": "\xff"}', "Byte 8 of the body is no UTF-8."),
        (LINES, '{"a": 1}\n{"a":: 2}', "line 2, column 6"),
        (LINES, '{"a": 1}\n{"a": 2} 3', "line 2, column 9: something follows"),
        (LINES, '{"a": 1}\n[2]', "line 2: it is an array"),
        (LINES, '{"a": 1}\ntrue', "line 2: it is a truth value"),
        ({**JSON, "content-encoding": "gzip"}, b"plain", "The body is no gzip."),
        ({**JSON, "content-encoding": "gzip"}, gzip.compress(b'{"a": 1}')[:-3], "is cut off"),
        ({**JSON, "idempotency-key": '""'}, '{"a": 1}', "The Idempotency-Key is empty"),
        ({**JSON, "idempotency-key": "k" * 300}, '{"a": 1}', "longer than 256"),
        ({"content-type": "application/cloudevents+json"}, '{"id": "1"}', "event 1 lacks the attribute 'specversion'"),
        (
            {"content-type": "application/cloudevents-batch+json"},
            json.dumps([EVENT, {**EVENT, "id": 5}]),
            "event 2 lacks the attribute 'id'",
        ),
        ({"content-type": "application/cloudevents-batch+json"}, "{}", "The body is no array."),
        (
            {"content-type": "application/cloudevents+json"},
            json.dumps({**EVENT, "specversion": "0.3"}),
            "CloudEvents 0.3",
        ),
        ({**JSON, "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/"}, "{}", "lacks the attribute 'type'"),
    ],
    ids=itertools.count(),
)
def test_what_is_not_well_is_refused_with_its_place(headers: dict[str, str], body: bytes | str, said: str) -> None:
    error = refusal(body, headers)
    assert error.reason is Refusal.MALFORMED
    assert said in error.message


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/csv"},
        {"content-type": "application/json; charset=latin-1"},
        {**JSON, "content-encoding": "br"},
    ],
)
def test_other_types_are_not_taken(headers: dict[str, str]) -> None:
    assert refusal("{}", headers).reason is Refusal.UNSUPPORTED


def test_a_request_has_a_size() -> None:
    few = Limits(body=100, records=2)
    rows = '[{"a":1},{"a":2},{"a":3}]'
    assert "more than 2 records" in refusal(rows, limits=few).message
    assert "more than 2 records" in refusal('{"a":1}\n' * 3, LINES, few).message
    packed = {**JSON, "content-encoding": "gzip"}
    assert "larger than 100 bytes" in refusal(gzip.compress(b'{"a":"' + b" " * 1000 + b'"}'), packed, few).message
    assert refusal("x" * 101, limits=few).reason is Refusal.TOO_LARGE
    assert deliver(gzip.compress(b'[{"a": 1}]'), packed).text == '{"a": 1}'


@pytest.mark.parametrize("key", ["k1", '"k1"'])
def test_a_key_covers_the_whole_request(key: str) -> None:
    found = deliver('[{"a": 1}, {"a": 2}]', {**JSON, "idempotency-key": key})
    (keyed,) = found.keyed
    assert (keyed.key, keyed.records, keyed.strict, found.text) == ("key k1", 2, True, "")
    assert found.total == 2


def test_events_have_their_own_keys() -> None:
    structured = deliver(json.dumps(EVENT), {"content-type": "application/cloudevents+json"})
    (one,) = structured.keyed
    assert (one.key, json.loads(one.text)) == ('event ["/till", "1"]', EVENT)
    many = deliver(json.dumps([EVENT, {**EVENT, "id": "2"}]), {"content-type": "application/cloudevents-batch+json"})
    assert [item.key for item in many.keyed] == ['event ["/till", "1"]', 'event ["/till", "2"]']


@pytest.mark.parametrize(
    ("media", "body", "member"),
    [
        ("application/json", b'{"n":\n 1}', {"data": {"n": 1}}),
        ("text/plain", "é".encode(), {"data": "é"}),
        ("application/octet-stream", b"\x00\xff", {"data_base64": "AP8="}),
        ("", b"", {}),
    ],
)
def test_an_event_in_headers_becomes_one_in_a_body(media: str, body: bytes, member: dict[str, object]) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/till", "ce-type": "sold", "ce-shop": "K%C3%B6ln"}
    (found,) = deliver(body, {**headers, "content-type": media}).keyed
    expected = {**EVENT, "shop": "Köln", **({"datacontenttype": media} if media else {}), **member}
    assert json.loads(found.text) == expected
    assert "\n" not in found.text
    assert found.key == 'event ["/till", "1"]'
