"""The coordinator's image files."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hpgreedy.coordinator.images import ImageFileError, ImageFiles
from protocol.spec import ImageFile, ImageManifest

DATA = bytes(range(256)) * 10
FILE = ImageFile(role="disk", size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
MANIFEST = ImageManifest(name="i", files=(FILE,))


def test_pieces_become_a_file_and_repeated_pieces_change_nothing(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path / "images")
    assert files.missing(MANIFEST) == (FILE.sha256,)
    assert files.write(FILE, 0, DATA[:1000]) == 1000
    assert files.write(FILE, 0, DATA[:1000]) == 1000
    assert files.missing(MANIFEST) == (FILE.sha256,)
    assert files.write(FILE, 1000, DATA[1000:]) == len(DATA)
    assert files.missing(MANIFEST) == ()
    assert files.read(FILE.sha256, 100, 50) == DATA[100:150]
    assert files.write(FILE, 0, b"other") == len(DATA)


def test_a_gap_is_refused(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path)
    with pytest.raises(ImageFileError, match="must begin at 0"):
        files.write(FILE, 10, b"x")


def test_more_than_announced_is_refused(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path)
    with pytest.raises(ImageFileError, match="were announced"):
        files.write(FILE, 0, DATA + b"x")


def test_a_wrong_checksum_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path)
    with pytest.raises(ImageFileError, match="was announced: send it again"):
        files.write(FILE, 0, bytes(len(DATA)))
    assert files.have(FILE.sha256) == 0


def test_a_piece_sent_again_during_the_check_waits_for_its_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, begun = ImageFiles(tmp_path), threading.Event()
    digest = hashlib.file_digest

    def slow(*args: Any) -> Any:
        begun.set()
        time.sleep(0.3)
        return digest(*args)

    monkeypatch.setattr(hashlib, "file_digest", slow)
    first = threading.Thread(target=files.write, args=(FILE, 0, DATA))
    first.start()
    assert begun.wait(5)
    assert files.write(FILE, 0, DATA) == len(DATA)
    assert files.missing(MANIFEST) == ()
    first.join()


def test_sweep_passes_over_what_is_no_file(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path)
    (tmp_path / "lost+found").mkdir()
    files.sweep(frozenset())
    assert (tmp_path / "lost+found").is_dir()


def test_sweep_keeps_only_what_is_wanted(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path)
    files.write(FILE, 0, DATA)
    files.write(ImageFile(role="disk", size=9, sha256="b" * 64), 0, b"x")
    files.sweep(frozenset({FILE.sha256}))
    assert [path.name for path in tmp_path.iterdir()] == [FILE.sha256]
