import contextlib
import json
import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import JSON, MSGPACK, CodecError, decode, encode, new_id
from protocol.messages import Command, Goodbye, Hello, ImageData, Reply, ReportAck, Request

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=50)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def frames_of(value: object, codec: bytes = MSGPACK) -> list[bytes]:
    return [codec, msgpack.packb(value) if codec == MSGPACK else json.dumps(value).encode()]


@given(
    number=TEXT,
    re=st.none() | TEXT,
    args=st.dictionaries(TEXT, JSONISH, max_size=4),
    deadline=FINITE,
    codec=st.sampled_from([MSGPACK, JSON]),
)
def test_what_is_encoded_comes_back_the_same(number, re, args, deadline, codec):
    command = Command(
        id=number, operation="7", epoch=3, sent_at=1.5, deadline=deadline, action="start", args=args
    )
    incoming = decode(encode(command, id=number, re=re, codec=codec))
    assert incoming.body == command
    assert (incoming.envelope.id, incoming.envelope.re, incoming.codec) == (number, re, codec)


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_garbage_frames_are_a_codec_error_and_nothing_else(frames):
    with contextlib.suppress(CodecError):
        decode(frames)


@given(st.sampled_from([MSGPACK, JSON]), st.binary(max_size=400))
def test_a_garbage_payload_is_a_codec_error_and_nothing_else(codec, payload):
    with contextlib.suppress(CodecError):
        decode([codec, payload])


@given(st.sampled_from([MSGPACK, JSON]), JSONISH, st.sampled_from(["hello", "command", "reply", "nonsense"]))
def test_any_value_as_a_body_is_read_or_refused(codec, body, kind):
    with contextlib.suppress(CodecError):
        decode(frames_of({"type": kind, "id": "x", "body": body}, codec))


def test_binary_data_travels_unchanged_in_msgpack():
    data = bytes(range(256)) * 8
    assert decode(encode(ImageData(data=data), id="a", re="b")).body == ImageData(data=data)


def test_an_unknown_type_is_survived():
    incoming = decode(frames_of({"type": "teleport", "id": "1", "body": {"to": "moon"}}))
    assert incoming.body is None
    assert incoming.envelope.type == "teleport"
    assert incoming.envelope.body == {"to": "moon"}


@pytest.mark.parametrize("codec", [MSGPACK, JSON])
def test_unknown_fields_of_a_newer_peer_are_survived(codec):
    raw = {"type": "report_ack", "id": "1", "trace": "x", "v": 2, "body": {"now": 2.0, "mood": "good"}}
    assert decode(frames_of(raw, codec)).body == ReportAck(now=2.0)


def test_too_large_a_message_is_refused_before_it_is_read():
    with pytest.raises(CodecError, match="message of 4194304 bytes is over the limit of 2097152 bytes"):
        decode([MSGPACK, bytes(4194304)])


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "0 frames"),
        ([b"m"], "1 frames"),
        ([b"m", b"", b""], "3 frames"),
        ([b"x", b"{}"], "unknown codec"),
        ([b"m", b"\xc1"], "not valid msgpack"),
        ([b"m", b""], "not valid msgpack"),
        ([b"m", msgpack.packb(msgpack.Timestamp(1))], "timestamp|extension|exceeds"),
        ([b"m", msgpack.packb(msgpack.ExtType(4, b"x"))], "not valid msgpack"),
        ([b"m", msgpack.packb({1: 2})], "not valid msgpack"),
        ([b"m", msgpack.packb({b"type": "hello"})], "is not text"),
        ([b"m", b"\x82\xa1a\x01\xa1a\x02"], "stands twice"),
        ([b"m", b"\x91" * 600 + b"\x90"], "nested too deeply|not valid msgpack"),
        ([b"m", b"\x91" * 33 + b"\x90"], "nested too deeply"),
        ([b"m", b"\xdd\xff\xff\xff\xff"], "not valid msgpack"),
        ([b"m", msgpack.packb([1])], "envelope"),
        ([b"m", msgpack.packb({"type": "hello"})], "'id'"),
        ([b"m", msgpack.packb({"type": "report_ack", "id": "1", "body": {"now": math.nan}})], "nan"),
        ([b"m", b"\xa4\xff\xff\xff\xff"], "UTF-8"),
        ([b"j", b"{"], "not valid JSON"),
        ([b"j", b'{"a":1,"a":2}'], "stands twice"),
        ([b"j", b'{"a":NaN}'], "NaN"),
        ([b"j", b'{"a":1e999}'], "inf"),
        ([b"j", b'{"a":"\\ud800"}'], "UTF-8"),
        ([b"j", b'{"type":"hello","id":"1","v":%d}' % (10**30,)], "64 bits"),
        ([b"j", b"[" * 100_000], "nested too deeply"),
        ([b"j", b"\xff"], "UTF-8"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(frames, words):
    with pytest.raises(CodecError, match=words) as caught:
        decode(frames)
    assert "\n" not in caught.value.message


def test_a_wrong_type_in_a_known_body_names_field_and_envelope():
    with pytest.raises(CodecError, match=r"report_ack\.now is \"noon\"; it must be a number") as caught:
        decode(frames_of({"type": "report_ack", "id": "42", "body": {"now": "noon"}}))
    assert caught.value.envelope is not None
    assert caught.value.envelope.id == "42"


def test_a_missing_field_is_named():
    with pytest.raises(CodecError, match="lacks the field 'host_id'"):
        decode(frames_of({"type": "hello", "id": "1", "body": {}}))
    assert Hello.__struct_fields__[0] == "host_id"


def test_messages_without_fields_and_with_any_result():
    assert decode(encode(Goodbye(), id="1")).body == Goodbye()
    reply = Reply(ok=True, result=[1, {"a": None}])
    assert decode(encode(reply, id="1", re="0", codec=JSON)).body == reply
    assert decode(encode(Request(verb="status"), id="1", codec=JSON)).codec == JSON


def test_new_ids_differ():
    assert len({new_id() for _ in range(100)}) == 100
