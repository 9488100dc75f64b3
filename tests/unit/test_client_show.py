"""Figures, tables and pieces of text as a person reads them."""

from __future__ import annotations

import io

import pytest
from client_fakes import make_host, make_op, make_status, make_vm
from hypothesis import given
from hypothesis import strategies as st

from hpgreedy.client import tables, units
from hpgreedy.client.console import last_lines, tail_bytes
from hpgreedy.client.errors import RejectedError
from hpgreedy.client.grid import Grid, plain
from hpgreedy.client.screen import Screen
from protocol.messages import MigrationProgress


@pytest.mark.parametrize(
    ("mib", "text"), [(0, "0MiB"), (512, "512MiB"), (1024, "1GiB"), (1536, "1.5GiB"), (2 * 1024**2, "2TiB")]
)
def test_memory(mib: int, text: str) -> None:
    assert units.memory(mib) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m"), (3660, "1h01m"), (172800, "2d")]
)
def test_duration(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


def test_bar_stays_within_its_width() -> None:
    assert units.bar(20, 10, 4) == "████"
    assert units.bar(5, 0, 4) == "░░░░"
    assert units.bar(1, 2, 4) == "██░░"


@given(st.text())
def test_nothing_that_steers_a_terminal_remains(text: str) -> None:
    cleaned = units.clean(text)
    assert all(sign in "\t\n" or ord(sign) >= 32 for sign in cleaned)


def test_escape_sequences_vanish_whole() -> None:
    assert units.clean("a\x1b[31mred\x1b[0m\x1b]0;title\x07b\x07\r\n") == "aredb\n"


def test_plain_tables_align_and_cut_nothing() -> None:
    name = "a" * 63
    text = plain(Grid(("VM", "HOST"), ((name, "h"), ("b", "x\ny"))))
    lines = text.splitlines()
    assert lines[1] == f"{name}  h"
    assert lines[2] == "b" + " " * 64 + "x y"
    assert lines[0].index("HOST") == lines[1].index("h")


def test_an_empty_table_says_so() -> None:
    assert plain(tables.vm_table(())) == "There are no VMs.\n"


def test_vm_table_shows_id_host_state_and_trouble() -> None:
    grid = tables.vm_table(
        (make_vm("db-1", state="crashed", problem="QEMU died", macs=("52:54:00:00:00:01",)),)
    )
    row = dict(zip(grid.heads, grid.rows[0], strict=True))
    assert row["VM"] == "db-1"
    assert row["STATE"] == "crashed"
    assert row["NOTE"] == "QEMU died"
    assert row["MAC"] == "52:54:00:00:00:01"


def test_host_table_with_bars() -> None:
    row = tables.host_table((make_host(),), bars=True).rows[0]
    assert row[2] == "██░░░░░░ 4/16"
    assert tables.host_table((make_host(),)).rows[0][3] == "4GiB/16GiB (25%)"


def test_status_names_problems() -> None:
    assert ("problem", "host2 is unreachable") in tables.status_facts(make_status()).rows


def test_progress_of_a_migration() -> None:
    progress = MigrationProgress(
        total=100 * 2**20,
        processed=150 * 2**20,
        remaining=25 * 2**20,
        bandwidth=24 * 2**20,
        dirty_rate=8 * 2**20,
    )
    op = make_op(kind="migrate", progress=progress)
    assert tables.progress_text(op) == "75%  24.0MiB/s  25MiB remaining  8.0MiB/s dirtied"
    assert tables.progress_text(make_op()) == ""


def test_op_facts_tell_history_and_outcome() -> None:
    op = make_op(
        kind="migrate",
        done=True,
        ok=True,
        outcome={"total_ms": 4520, "downtime_ms": 306, "transferred": 2048},
    )
    facts = dict(tables.op_facts(op).rows)
    assert (facts["took"], facts["downtime"], facts["transferred"]) == ("4.52s", "306ms", "2KiB")


def test_last_lines() -> None:
    assert last_lines("a\nb\nc\n", 2) == "b\nc\n"
    assert last_lines("", 2) == ""


@given(st.text(), st.text().filter(lambda text: "\ufffd" not in text))
def test_the_tail_of_a_console_is_what_was_added(old: str, new: str) -> None:
    assert tail_bytes(old + new, len(new.encode())) == new


def test_bytes_that_could_not_be_decoded_count_as_one() -> None:
    text = (b"old" + b"\xff\xfe" + b"new").decode("utf-8", "replace")
    assert tail_bytes(text, 4) == "\ufffdnew"


def test_failures_with_json_are_an_object_on_standard_output_and_a_sentence_on_the_other() -> None:
    out, err = io.StringIO(), io.StringIO()
    Screen(json=True, out=out, err=err).failure(RejectedError("refused", "no\nroom", "vms[0]"))
    assert '"error"' in out.getvalue()
    assert '"field": "vms[0]"' in out.getvalue()
    assert err.getvalue() == "no room\n"
