"""The pages on operations, placement and the programs' options, from the tables that the code obeys."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agent import options as agent_options
from hpgreedy.coordinator import options as coordinator_options
from hpgreedy.operations.transitions import ENDED, TOO_LATE, TRANSITIONS, WHAT_IT_DOES, mermaid
from hpgreedy.placement import ALGORITHMS, DEFAULT
from protocol import commands, messages

MADE = "<!-- Made by docs/generate.py from the code; change it there. -->\n\n"


def operations_page() -> str:
    """Every kind of operation: its diagram and its states; then the agents' commands and the messages."""
    parts = [MADE, "# Operations\n\n", _OPERATIONS_START]
    for kind, states in TRANSITIONS.items():
        parts += [
            f"## {kind}\n\n```mermaid\n{mermaid(kind)}\n```\n\n",
            "| state | what happens | `op cancel` |\n|---|---|---|\n",
        ]
        late = TOO_LATE[kind]
        parts += [
            f"| `{state}` | {WHAT_IT_DOES[state]} | {'no: ' + late[state] if state in late else 'yes'} |\n"
            for state in states
        ]
        parts.append("\n")
    ends = ", ".join(f"`{state}` ({WHAT_IT_DOES[state]})" for state in ENDED)
    parts.append(
        f"Every kind ends in one of {ends}.\n\n## What an agent is told\n\n| action | |\n|---|---|\n"
    )
    parts += [f"| `{name}` | {_first(kind)} |\n" for name, kind in commands.ACTIONS.items()]
    parts.append("\n## Messages\n\n| type | |\n|---|---|\n")
    parts += [f"| `{name}` | {_first(kind)} |\n" for name, kind in messages.BODIES.items()]
    return "".join(parts)


def programs_page() -> str:
    """The options of coordinator and agent."""
    coordinator = _options(coordinator_options.parser())
    agent = _options(agent_options.parser())
    return MADE + _PROGRAMS_START + coordinator + _AGENT_START + agent + _SETUP


def placement_page(written: str) -> str:
    """The page on placement, with the table of the algorithms made anew between its two marks."""
    before, mark, rest = written.partition(_ALGORITHMS_MARK)
    _, end, after = rest.partition(_END_MARK)
    if not mark or not end:
        raise SystemExit("docs/placement.md lacks the marks between which its table stands")
    rows = ["\n| algorithm | what it does | from |\n|---|---|---|\n"]
    for algorithm in ALGORITHMS.values():
        name = f"**`{algorithm.name}`**" if algorithm.name == DEFAULT else f"`{algorithm.name}`"
        rows.append(f"| {name} | {_cell(algorithm.summary)} | {_cell(algorithm.source)} |\n")
    return "".join([before, mark, *rows, "\n", end, after])


def _options(parser: argparse.ArgumentParser) -> str:
    rows = ["| option | what it is for |\n|---|---|\n"]
    for action in parser._actions:
        if action.dest == "help":
            continue
        name = " ".join([*(action.option_strings or [f"<{action.dest}>"]), str(action.metavar or "")]).strip()
        rows.append(f"| `{_cell(name)}` | {_cell((action.help or '').replace('%%', '%'))} |\n")
    return "".join(rows)


def _first(kind: type) -> str:
    text = (kind.__doc__ or "").strip()
    return _cell(re.sub(r"\s+", " ", text.split("\n\n")[0]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_ALGORITHMS_MARK = (
    "<!-- algorithms: this table is made by docs/generate.py from the code; change it there -->\n"
)
_END_MARK = "<!-- end -->"
_OPERATIONS_START = """Every change to the cluster is an operation: on disk before it is acknowledged, taken
up again after a restart, and kept with its history (`op show`). The diagrams are drawn from the table that
the engine obeys.

**`op cancel N`**, for the owner of the operation and for operators, is on disk before it is acknowledged,
and asking again changes nothing. It is refused where there is no way back; the tables say in which states.
What had been begun is taken back: half-made VMs are removed, a live migration is aborted at its source. It
may come too late all the same: where a migrated VM is, is looked at as always, and an operation that
brought about what it was to is `completed`. A guest that was asked to shut down may do so after the host
has stopped waiting for it. Cancelling a create that makes room drops the moves that have not begun; VMs
that have moved stay where they are.

**`op retry N`** asks once more for what an operation did not bring about that failed or was cancelled: with
the same request, for the same owner, and with everything decided anew, the place too. The new operation
names the old one. It is refused when the old one has not ended or ended as asked, when it was a part of
another, when the VM is gone or is another one of the same id, and whenever the request itself would be.

**Ended operations** are kept for `--keep-operations` days (30), of the last 50,000; those that a VM, an
open operation or a request of the last day refers to are kept anyway. Numbers are never given twice. A step
that is tried again is counted in the history; after 30 tries the waits between them grow to a minute.

"""
_PROGRAMS_START = """# The programs

## run_coordinator.py

    python run_coordinator.py [options]

Runs on the head node. Every option may also stand in the table `[coordinator]` of the file that `--config`
names, with `_` for `-`; the command line wins:

```toml
[coordinator]
listen = "10.0.0.1"
default_image = "debian-13"
```

"""
_AGENT_START = """
The state root is `$HPGREEDY_STATE`, else `/var/lib/hpgreedy` for root, else `~/.local/state/hpgreedy`. The
coordinator keeps `coordinator/` in it: its key, its database, its images and `local-admin.json`, by which
programs of the same user on the head node are let in as admin.

## run_server.py

    python run_server.py <coordinator_ip> <port> <memory_gib> [options]

Runs on each host (the head node may be one too). `--config` works as above, with the table `[agent]`.

"""
_SETUP = """
    python run_server.py setup [--yes] [--hypervisor URI] [--pool NAME] [--pool-path DIR] [--state DIR]

prepares a real host: checks that libvirt answers and that QEMU is there, makes the storage pool and the state
folder. It says what it will change and asks first.
"""
