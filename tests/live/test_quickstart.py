"""Quickstart, real and simulated: killed at any point it can be run again; down leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
NAME = f"k{os.getpid() % 100000}"


def quickstart(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lab.quickstart", *words],
        cwd=PROJECT,
        env={**os.environ, "HPG_QUICKSTART_NAME": NAME},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(*words: str) -> tuple[int, str]:
    process = quickstart(*words)
    output, _ = process.communicate(timeout=180)
    return process.returncode, output


def leftovers() -> list[str]:
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{NAME}/" in line]
    found += [
        str(path)
        for path in (Path("/run/hpgreedy-lab", NAME), Path("/var/lib/hpgreedy-lab", NAME))
        if path.exists()
    ]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if NAME.encode() in (folder / "cmdline").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("mode", ["--simulated", "real"])
def test_killed_then_run_again_then_removed(mode: str) -> None:
    words = ["--simulated"] if mode == "--simulated" else []
    moments = [0.7, 2.5] if words else [0.4, 2.0, 6.0]
    try:
        for moment in moments:
            process = quickstart(*words)
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.wait()
        code, output = finished(*words)
        assert code == 0, output
        assert "Removed what an earlier quickstart had left" in output
        assert "counts on" in output
        assert "downtime" in output
        assert "What to type next" in output
    finally:
        code, output = finished(*words, "down")
    assert code == 0, output
    assert leftovers() == []
