"""What every store does; each test runs against SQLite and against memory."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpgreedy.operations.ports import Change, StaleEpoch, Store
from hpgreedy.store import MemoryStore, open_store


class Bench:
    """A store that can be closed and opened again, and a clock to turn."""

    def __init__(self, kind, path):
        self.now = 1000.0
        self._path = path / "state.db"
        self._memory = MemoryStore(lambda: self.now) if kind == "memory" else None
        self.store = self._open()

    def _open(self):
        return self._memory or open_store(self._path, lambda: self.now)

    def again(self):
        self.store.close()
        self.store = self._open()
        return self.store

    def second(self):
        return self._open()


@pytest.fixture(params=["memory", "sqlite"])
def bench(request, tmp_path):
    made = Bench(request.param, tmp_path)
    yield made
    made.store.close()


def put(key, kind="vm", **value):
    return Change(kind=kind, key=key, value=value)


def drop(key, kind="vm"):
    return Change(kind=kind, key=key, value=None)


def test_a_new_store_is_empty(bench):
    store: Store = bench.store
    assert store.load() == {}
    assert bench.store.log() == ()


def test_records_are_put_replaced_and_deleted(bench):
    epoch = bench.store.claim_epoch()
    bench.store.append(epoch, [put("a", n=1), put("b", n=2), put("a", kind="host", up=True)])
    bench.store.append(epoch, [put("a", n=3, more=[1, None, {"x": "ü"}]), drop("b"), drop("never-there")])
    assert bench.again().load() == {
        "host": {"a": {"up": True}},
        "vm": {"a": {"n": 3, "more": [1, None, {"x": "ü"}]}},
    }


def test_the_last_change_of_a_record_in_a_batch_wins(bench):
    epoch = bench.store.claim_epoch()
    bench.store.append(epoch, [put("a", n=1), drop("a"), put("a", n=2), put("b", n=1), drop("b")])
    assert bench.again().load() == {"vm": {"a": {"n": 2}}}


def test_each_batch_is_one_log_entry_with_its_time_and_epoch(bench):
    epoch = bench.store.claim_epoch()
    first, second = [put("a", n=1), drop("b")], [put("c", n=2.5)]
    bench.store.append(epoch, first)
    bench.now = 1001.5
    bench.store.append(epoch, second)
    entries = bench.again().log()
    assert [(e.seq, e.at, e.epoch, list(e.batch)) for e in entries] == [
        (1, 1000.0, epoch, first),
        (2, 1001.5, epoch, second),
    ]


def test_epochs_rise_across_restarts_and_above_what_is_asked(bench):
    assert bench.store.claim_epoch() == 1
    assert bench.again().claim_epoch() == 2
    assert bench.again().claim_epoch(at_least=40) == 41
    assert bench.again().claim_epoch(at_least=7) == 42


def test_an_older_claimer_cannot_write(bench):
    old = bench.store.claim_epoch()
    bench.store.append(old, [put("a", by="old")])
    other = bench.second()
    new = other.claim_epoch()
    with pytest.raises(StaleEpoch, match=f"epoch {old} may not write: epoch {new} has been claimed"):
        bench.store.append(old, [put("a", by="old again"), put("b", by="old")])
    assert other.load() == {"vm": {"a": {"by": "old"}}}
    assert len(other.log()) == 1
    other.append(new, [put("a", by="new")])
    assert bench.store.load() == {"vm": {"a": {"by": "new"}}}
    other.close()


@pytest.mark.parametrize("epoch", [0, 2, 10**6])
def test_an_epoch_nobody_claimed_cannot_write(bench, epoch):
    bench.store.claim_epoch()
    with pytest.raises(StaleEpoch):
        bench.store.append(epoch, [put("a", n=1)])
    assert bench.store.load() == {}


def test_nothing_can_be_written_before_an_epoch_is_claimed(bench):
    with pytest.raises(StaleEpoch):
        bench.store.append(1, [put("a", n=1)])


def test_a_batch_with_an_unfit_value_leaves_nothing(bench):
    epoch = bench.store.claim_epoch()
    with pytest.raises(TypeError):
        bench.store.append(epoch, [put("a", n=1), put("b", n=object())])
    assert bench.store.load() == {}
    assert bench.store.log() == ()


def test_what_went_in_is_not_shared_with_what_comes_out(bench):
    epoch = bench.store.claim_epoch()
    value = {"list": [1]}
    bench.store.append(epoch, [Change(kind="vm", key="a", value=value)])
    value["list"].append(2)
    bench.store.load()["vm"]["a"]["list"].append(3)
    assert bench.store.load() == {"vm": {"a": {"list": [1]}}}


def test_compact_drops_old_entries_keeps_records_and_never_reuses_a_number(bench):
    epoch = bench.store.claim_epoch()
    for at in (1000.0, 1001.0, 1002.0):
        bench.now = at
        bench.store.append(epoch, [put(f"at{at:.0f}", n=1)])
    assert bench.store.compact(1001.0, bench.now) == 1
    assert [entry.seq for entry in bench.store.log()] == [2, 3]
    assert bench.store.compact(1002.0, 1002.0) == 1
    bench.now = 1003.0
    assert bench.store.compact(1003.0, 1003.0) == 1
    assert set(bench.again().load()["vm"]) == {"at1000", "at1001", "at1002"}
    bench.store.append(epoch, [])
    assert [entry.seq for entry in bench.store.log()] == [4]


def test_compact_refuses_to_drop_what_is_yet_to_come(bench):
    with pytest.raises(ValueError, match="must not lie after now"):
        bench.store.compact(1001.0, 1000.0)


def test_records_come_in_order_of_kind_and_key(bench):
    epoch = bench.store.claim_epoch()
    bench.store.append(epoch, [put("b"), put("a"), put("z", kind="host"), put("10"), put("9")])
    loaded = bench.again().load()
    assert list(loaded) == ["host", "vm"]
    assert list(loaded["vm"]) == ["10", "9", "a", "b"]


NAMES = st.sampled_from(["a", "b", "A", "1", "ü", "%", "'"])
CHANGES = st.builds(
    Change,
    kind=st.sampled_from(["vm", "host"]),
    key=NAMES,
    value=st.one_of(st.none(), st.dictionaries(st.text(max_size=3), st.integers(-5, 5), max_size=2)),
)


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.lists(CHANGES, max_size=5), max_size=5))
def test_sqlite_and_memory_agree_on_any_history(tmp_path_factory, batches):
    memory = MemoryStore(lambda: 5.0)
    sqlite = open_store(tmp_path_factory.mktemp("store") / "s.db", lambda: 5.0)
    expected = {}
    for store in (memory, sqlite):
        epoch = store.claim_epoch()
        for batch in batches:
            store.append(epoch, batch)
    for change in (change for batch in batches for change in batch):
        expected[change.kind, change.key] = change.value
    left = {}
    for (kind, key), value in expected.items():
        if value is not None:
            left.setdefault(kind, {})[key] = value
    assert memory.load() == sqlite.load() == left
    assert msgspec.to_builtins(memory.log()) == msgspec.to_builtins(sqlite.log())
    sqlite.close()
