"""The words of a command line: addresses, common options, where the verb begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpgreedy.client.arguments import Address, parse_address, read_line
from hpgreedy.client.errors import UsageError

VERBS = ("vm", "status", "submit")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", Address("10.0.0.1")),
        ("head.example.org:5001", Address("head.example.org", 5001)),
        ("fd00::1", Address("fd00::1")),
        ("[fd00::1]", Address("fd00::1")),
        ("[fd00::1]:65535", Address("fd00::1", 65535)),
        ("[fe80::1%eth0]:1", Address("fe80::1%eth0", 1)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text, "the address") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5000",
        "a b",
        "a:b:c",
        "[10.0.0.1]:5",
        "[fd00::1",
        "h:0",
        "h:65536",
        "h:",
        "h:+1",
        "tcp://h",
        "h\n",
    ],
)
def test_wrong_addresses_are_named(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text, "the address")
    assert repr(text) in caught.value.message or "65535" in caught.value.message
    assert caught.value.exit_code == 2


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        found = parse_address(text, "the address")
    except UsageError:
        return
    assert parse_address(str(found), "the address") == found


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_words_are_a_line_or_a_usage_error(words: list[str]) -> None:
    try:
        line = read_line(words, VERBS)
    except UsageError:
        return
    assert all(word in words for word in line.words)


def test_address_then_verb() -> None:
    line = read_line(["10.0.0.1", "vm", "list"], VERBS)
    assert (line.address, line.words) == (Address("10.0.0.1"), ("vm", "list"))


def test_a_verb_in_the_first_place_leaves_the_address_out() -> None:
    assert read_line(["vm", "list"], VERBS).address is None
    assert read_line(["--to", "h:7", "vm", "list"], VERBS).address == Address("h", 7)


def test_a_host_named_like_a_verb_is_reached_with_to() -> None:
    line = read_line(["--to", "vm", "status"], VERBS)
    assert (line.address, line.words) == (Address("vm"), ("status",))


def test_common_options_stand_anywhere_and_to_belongs_to_the_verb_after_it() -> None:
    line = read_line(
        ["--json", "h", "vm", "--port=7", "migrate", "a", "--to", "host2", "--state", "/s", "--join", "t"],
        VERBS,
    )
    assert line.words == ("vm", "migrate", "a", "--to", "host2")
    assert line.address == Address("h", 7)
    assert line.common == (True, Path("/s"), "t")


def test_words_after_two_dashes_are_left_alone() -> None:
    assert read_line(["h", "vm", "show", "--", "--json"], VERBS).words == ("vm", "show", "--", "--json")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["h", "vm", "--port"], "--port lacks its value"),
        (["h", "vm", "--port", "x"], "'x'"),
        (["h:5", "vm", "--port", "6"], "give one"),
        (["h", "vm", "--json=yes"], "takes none"),
        (["h", "vm", "--state", "--json"], "--state lacks its value"),
    ],
)
def test_wrong_common_options(words: list[str], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_line(words, VERBS)
    assert part in caught.value.message
