"""simulate run: requests over time, in a table, as JSON and as a picture."""

import gzip
import json
from pathlib import Path

import pytest

from hpgreedy.client.main import main

TRACE = "second,vcpu,memory_gib,lifetime_s\n0,4,4,100\n10,4,4,100\n20,4,4,100\n200,1,1,5\n"
SMALL = ["--host-count", "2", "--host-size", "cpu=4,memory=8"]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def test_a_trace_is_compared_on_equal_hosts(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "run", str(trace), "--json", "--algorithms", "best_fit,next_fit", *SMALL]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["hosts"], found["seconds"]) == (4, 2, 200)
    assert [(each["algorithm"], each["placed"], each["rejected"]) for each in found["courses"]] == [
        ("best_fit", 3, 1),
        ("next_fit", 3, 1),
    ]
    assert len(found["courses"][0]["samples"]) == 240


def test_a_packed_trace_reads_the_same(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(TRACE.encode()))
    answers = []
    for path in (trace, packed):
        assert main(["simulate", "run", str(path), "--json", "--algorithms", "first_fit", *SMALL]) == 0
        found = json.loads(capsys.readouterr().out)
        del found["courses"][0]["seconds"]
        answers.append(found)
    assert answers[0] == answers[1]


def test_hosts_of_a_cluster_file_keep_their_vms(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(
        json.dumps(
            {
                "hosts": [{"id": 1, "cpu": 4, "memory": 8}, {"id": 2, "cpu": 4, "memory": 8}],
                "vms": [{"id": "old", "cpu": 1, "memory": 1, "host": 1}],
            }
        )
    )
    command = ["simulate", "run", str(trace), "--hosts", str(file), "--algorithms", "first_fit"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["courses"][0]["rejected"] == 2


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_the_picture_is_drawn_and_repeats_itself(
    name: str, magic: bytes, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / name
        words = ["simulate", "run", str(trace), "--algorithms", "best_fit,worst_fit", "--picture", str(path)]
        assert main([*words, *SMALL]) == 0
        drawn.append(path.read_bytes())
        assert str(path) in capsys.readouterr().out
    assert drawn[0].startswith(magic)
    assert drawn[0] == drawn[1]
    if name.endswith("svg"):
        assert b">worst_fit</text>" in drawn[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--algorithms", "luck"], "--algorithms: algorithm is 'luck'; known are best_fit"),
        (["--algorithms", "best_fit,packed"], "--algorithms has packed, which sees all requests at once"),
        (["--host-size", "cpu=0,memory=4"], "--host-size is 'cpu=0,memory=4'; it must be such as"),
        (["--host-size", "cpu=4,memory=0"], "--host-size: memory is 0;"),
        (["--shape", "small"], "--shape is 'small'"),
        (["--picture", "a.gif"], "--picture is 'a.gif'; it must end in .png or .svg"),
        (["--picture", "/nowhere/a.png"], "its folder does not exist"),
        (["--host-count", "0"], "--host-count is '0'"),
        (["--hosts", "x.json", "--host-count", "1"], "--hosts and --host-count are both given; give one"),
        (["nothing.csv"], "nothing.csv cannot be read: No such file"),
        ([__file__], "lacks the column 'second'"),
    ],
)
def test_what_is_wrong_is_named(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["simulate", "run", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_admission_is_the_coordinators_over_time(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace.write_text("second,vcpu,memory_gib,lifetime_s\n0,2,2,500\n1,2,2,500\n2,1,1,500\n9,3,3,500\n")
    command = ["simulate", "run", str(trace), "--algorithms", "greedy,worst_fit", *SMALL]
    counted = []
    for more in ([], ["--admission", "n1"], ["--admission", "n1-warn"]):
        assert main([*command, "--json", *more]) == 0
        courses = json.loads(capsys.readouterr().out)["courses"]
        counted.append([(each["placed"], each["moves"], each["stranding"]) for each in courses])
    free, strict, warned = counted
    assert free == [(4, 0, 0), (3, 0, 0)]
    assert strict == [(2, 0, 0), (2, 0, 0)]
    assert [(each[0], each[2]) for each in warned] == [(4, 2), (3, 1)]
    assert main([*command, "--admission", "n1-warn"]) == 0
    assert "STRANDING" in capsys.readouterr().out


def test_depth_0_makes_no_room(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace.write_text("second,vcpu,memory_gib,lifetime_s\n0,4,4,500\n1,2,2,500\n2,8,8,500\n9,6,6,500\n")
    hosts = ["--host-count", "2", "--host-size", "cpu=10,memory=10"]
    moves = []
    for depth in ("0", "1"):
        command = ["simulate", "run", str(trace), "--algorithms", "greedy", *hosts, "--depth", depth]
        assert main([*command, "--json"]) == 0
        moves.append(json.loads(capsys.readouterr().out)["courses"][0]["moves"])
    assert moves == [0, 1]
