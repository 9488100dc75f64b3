"""simulate run: a stream of requests through several algorithms, side by side."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from hpgreedy.client.clusterfile import explained, name_of, read_cluster_file
from hpgreedy.client.errors import InputError, UsageError
from hpgreedy.client.grid import Grid
from hpgreedy.client.picture import check_picture, draw
from hpgreedy.client.session import Session
from hpgreedy.client.verbs.simulate import admission_of, limits_of
from hpgreedy.model import Cluster, Host, cluster_of
from hpgreedy.placement import ALGORITHMS, known
from hpgreedy.placement.restart import Admission
from hpgreedy.placement.words import amount, count
from hpgreedy.simulation import (
    Arrival,
    Course,
    Shape,
    default_shape,
    enough_hosts,
    generated,
    read_trace,
    run,
)
from protocol.spec import Memory, SpecError

GZIP = b"\x1f\x8b"
GENERATED_HOSTS = 100


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for. trace: a file, ``-``, or None = generated. sizes as typed."""

    trace: str | None
    hosts: str | None
    host_count: int | None
    host_size: str
    requests: int
    limit: int | None
    algorithms: str | None
    shape: str | None
    seed: int
    picture: str | None
    depth: int
    admission: str


class SimulatedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One course for each algorithm, over the same requests on the same hosts.

    shape: the VM against which fragmentation is measured, memory in MiB. seconds: from the first request to
    the last.
    """

    requests: int
    hosts: int
    seconds: float
    shape: Shape
    courses: tuple[Course, ...]


def simulate_run(session: Session, wanted: Wanted) -> None:
    """Run the stream through each algorithm, print the table, draw the picture."""
    names = _algorithms(wanted.algorithms)
    admission = admission_of(wanted.admission)
    if wanted.picture is not None:
        check_picture(wanted.picture)
    shape = None if wanted.shape is None else _size("--shape", wanted.shape)
    cluster, arrivals = _input(wanted)
    shape = shape or default_shape(arrivals)
    courses: list[Course] = []
    with session.screen.live() as area:
        for name in names:
            if area is not None:
                area.update([f"{name}, {len(courses) + 1} of {len(names)} algorithms"])
            course = run(
                cluster,
                arrivals,
                name,
                seed=wanted.seed,
                shape=shape,
                limits=limits_of(wanted.depth),
                clock=time.perf_counter,
                admission=admission,
            )
            courses.append(course)
    answer = SimulatedRun(
        requests=len(arrivals),
        hosts=len(cluster.hosts),
        seconds=arrivals[-1].at - arrivals[0].at,
        shape=shape,
        courses=tuple(courses),
    )
    session.show(answer, _table(answer, admission))
    session.screen.line(
        f"{count(answer.requests, 'request')} on {count(answer.hosts, 'host')}; fragmentation is that for "
        f"VMs of {count(shape.cpu, 'cpu')} with {amount(shape.memory)}"
    )
    if wanted.picture is not None:
        draw(answer.courses, wanted.picture)
        session.screen.line(f"the picture is in {wanted.picture}")


def _algorithms(given: str | None) -> tuple[str, ...]:
    names = sorted(ALGORITHMS) if given is None else [name.strip() for name in given.split(",")]
    try:
        chosen = [known(name) for name in dict.fromkeys(names)]
    except SpecError as error:
        raise UsageError(f"--algorithms: {error.message}", "--algorithms") from error
    batches = [algorithm.name for algorithm in chosen if algorithm.batch]
    if given is not None and batches:
        raise UsageError(
            f"--algorithms has {batches[0]}, which sees all requests at once; here they come one at a time",
            "--algorithms",
        )
    return tuple(algorithm.name for algorithm in chosen if not algorithm.batch)


def _size(option: str, text: str) -> Shape:
    """A size as ``cpu=64,memory=256``, memory in GiB or with a unit."""
    right = f"{option} is {text[:60]!r}; it must be such as cpu=64,memory=256"
    parts = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    if set(parts) != {"cpu", "memory"} or not parts["cpu"].isdecimal() or not 1 <= int(parts["cpu"]) <= 4096:
        raise UsageError(right, option)
    memory = parts["memory"]
    try:
        mib = Memory.parse(json.loads(memory) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", memory) else memory).mib
    except ValueError as error:
        raise UsageError(f"{option}: memory {error}", option) from error
    return Shape(cpu=int(parts["cpu"]), memory=mib)


def _input(wanted: Wanted) -> tuple[Cluster, tuple[Arrival, ...]]:
    if wanted.hosts is not None and wanted.host_count is not None:
        raise UsageError("--hosts and --host-count are both given; give one", "--hosts")
    size = _size("--host-size", wanted.host_size)
    arrivals = None if wanted.trace is None else _trace(wanted.trace, wanted.limit)
    if wanted.hosts is not None:
        cluster = _hosts_of(wanted.hosts)
    else:
        number = wanted.host_count or (
            enough_hosts(arrivals, size.cpu, size.memory) if arrivals is not None else GENERATED_HOSTS
        )
        keys = [f"h{n + 1}" for n in range(number)]
        cluster = Cluster({key: Host(key=key, cpu=size.cpu, memory=size.memory) for key in keys})
    if arrivals is None:
        arrivals = generated(wanted.requests, tuple(cluster.hosts.values()), wanted.seed)
    return cluster, arrivals


def _hosts_of(file: str) -> Cluster:
    found = read_cluster_file(file, simulation=True)
    if not found.hosts:
        raise InputError(f"{name_of(file)} has no hosts; hosts must be a list with at least one", "hosts")
    with explained(file):
        return cluster_of(found)[0]


def _trace(file: str, limit: int | None) -> tuple[Arrival, ...]:
    with _lines(file) as lines, explained(file):
        return read_trace(lines, limit)


@contextmanager
def _lines(file: str) -> Iterator[TextIO]:
    """The lines of a file, which may be compressed with gzip; InputError where it cannot be read."""
    try:
        if file == "-":
            yield sys.stdin
            return
        with Path(file).open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            plain = gzip.GzipFile(fileobj=raw) if packed else raw
            yield io.TextIOWrapper(plain, encoding="utf-8", newline="")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{file} cannot be read: {reason}", "TRACE") from error


def _table(answer: SimulatedRun, admission: Admission) -> Grid:
    heads = (
        "ALGORITHM", "PLACED", "REFUSED", "REFUSED CPUS", "MOVES", "HOSTS MEAN", "PEAK", "CPU", "MEMORY",
        "FRAGMENTED", "SECONDS",
    )  # fmt: skip
    rows = tuple(
        (
            course.algorithm,
            str(course.placed),
            str(course.rejected),
            f"{course.rejected_cpu:.2%}",
            str(course.moves),
            f"{course.hosts_mean:.1f}",
            str(course.hosts_peak),
            f"{course.cpu_mean:.1%}",
            f"{course.memory_mean:.1%}",
            f"{course.fragmentation_mean:.1%}",
            f"{course.seconds:.2f}",
        )
        for course in answer.courses
    )
    if admission is not Admission.N1_WARN:
        return Grid(heads, rows)
    said = tuple(str(course.stranding) for course in answer.courses)
    return Grid((*heads, "STRANDING"), tuple((*row, each) for row, each in zip(rows, said, strict=True)))
