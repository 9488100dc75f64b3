"""Writes the reference pages from the code; ``--check`` says whether they are up to date."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer
from msgspec import inspect as shapes

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from reference_pages import operations_page, placement_page, programs_page  # noqa: E402 - found through the line above

from hpgreedy.client.app import VERBS as GROUPS  # noqa: E402
from hpgreedy.client.app import app  # noqa: E402
from hpgreedy.client.arguments import COMMON_OPTIONS  # noqa: E402
from hpgreedy.client.prompt import HELP  # noqa: E402
from hpgreedy.client.verbs.joining import JoinedView  # noqa: E402
from hpgreedy.client.verbs.simulate import SimulatedPlacements  # noqa: E402
from hpgreedy.client.verbs.simulate_run import SimulatedRun  # noqa: E402
from protocol import verbs  # noqa: E402
from protocol.spec import (  # noqa: E402
    CloudInit,
    Disk,
    HostSpec,
    ImageFile,
    ImageManifest,
    KernelBoot,
    Memory,
    Nic,
    VmSpec,
)
from protocol.spec.fields import NAME_PATTERN, NAME_RULE  # noqa: E402

SPECS = (VmSpec, Disk, Nic, KernelBoot, CloudInit, HostSpec, ImageManifest, ImageFile)
ANSWERS = {
    "image add": verbs.ImageView,
    "join": JoinedView,
    "op watch": verbs.OpView,
    "simulate place": SimulatedPlacements,
    "simulate run": SimulatedRun,
}
MADE = "<!-- Made by docs/generate.py from the code; change it there. -->\n\n"
_FIELD = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def main(argv: list[str]) -> int:
    """Write both files, or with ``--check`` compare them; 1 when they differ."""
    placement = ROOT / "docs" / "placement.md"
    pages = {
        ROOT / "docs" / "cli.md": cli_page(),
        ROOT / "docs" / "vm-spec.md": spec_page(),
        ROOT / "docs" / "operations.md": operations_page(),
        ROOT / "docs" / "programs.md": programs_page(),
        placement: placement_page(placement.read_text()),
    }
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if "--check" in argv:
        for path in stale:
            sys.stderr.write(
                f"{path.relative_to(ROOT)} is not what the code says; run python docs/generate.py\n"
            )
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages[path])
        sys.stdout.write(f"{path.relative_to(ROOT)} written\n")
    return 0


def cli_page() -> str:
    """The command line: verbs, options, answers."""
    parts = [MADE, "# The command line\n\n", _CLI_START]
    parts += ["| Option of every verb | |\n|---|---|\n"]
    parts += [f"| `{name}` | {_cell(text)} |\n" for name, text in COMMON_OPTIONS.items()]
    parts += ["\n## The prompt\n\n```\n", HELP, "\n```\n\n## Verbs\n"]
    used: list[type] = []
    for path, command in _commands():
        kind = _answer_of(path)
        parts.append(_verb(path, command, kind))
        used += [found for found in _structs_in(kind) if found not in used]
    parts.append(
        "\n## Answers\n\nFields are only ever added. Sizes are MiB and times are seconds since the epoch "
    )
    parts.append("unless a line says otherwise.\n")
    parts += [_answer(kind) for kind in used]
    return "".join(parts)


def spec_page() -> str:
    """The cluster file and the specs in it."""
    parts = [MADE, "# VMs, hosts and images as JSON\n\n", _SPEC_START]
    parts += [_spec(kind) for kind in SPECS]
    return "".join(parts)


def _commands() -> Iterator[tuple[str, Any]]:
    root: Any = typer.main.get_command(app)
    for name in GROUPS:
        command = root.commands[name]
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {verb}", found) for verb, found in inner.items())


def _answer_of(path: str) -> Any:
    known = ANSWERS.get(path)
    return known if known is not None else verbs.VERBS[path.replace(" ", ".").replace("-", "_")][1]


def _verb(path: str, command: Any, kind: Any) -> str:
    words, options = [path], []
    for param in command.params:
        if param.name == "help":
            continue
        if param.param_type_name == "argument":
            words.append(str(param.metavar or param.name.upper()))
        else:
            options.append(_option(param))
    about = inspect.cleandoc(command.help or "")
    address = "" if path.startswith("simulate ") else "ADDRESS "
    text = f"\n### {path}\n\n`run_client.py {address}{' '.join(words)}`\n\n{about}\n"
    if options:
        text += "\n| Option | |\n|---|---|\n" + "".join(options)
    return text + f"\nAnswer with `--json`: {_shape_name(kind)}\n"


def _option(param: Any) -> str:
    names = "`, `".join((*param.opts, *param.secondary_opts))
    takes = "" if getattr(param, "is_flag", False) else f" {param.metavar or ''}".rstrip()
    notes = [str(param.help or "").strip()]
    default = param.default
    if param.required:
        notes.append("Must be given.")
    elif isinstance(default, bool) and param.secondary_opts:
        notes.append(f"Default: {'--wait' if default else '--no-wait'}.")
    elif default not in (None, False, "", ()):
        notes.append(f"Default: {default:g}." if isinstance(default, float) else f"Default: {default}.")
    return f"| `{_cell(names + takes)}` | {_cell(' '.join(note for note in notes if note))} |\n"


def _shape_name(kind: Any) -> str:
    found = shapes.type_info(kind)
    if isinstance(found, shapes.VarTupleType):
        return f"a list of {_shape_name(found.item_type.cls)}"  # type: ignore[attr-defined]
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


def _structs_in(kind: Any) -> Iterator[type]:
    yield from _structs(shapes.type_info(kind))


def _structs(found: Any) -> Iterator[type]:
    if isinstance(found, shapes.StructType):
        yield found.cls
        for field in found.fields:
            yield from _structs(field.type)
    elif isinstance(found, shapes.UnionType):
        for part in found.types:
            yield from _structs(part)
    elif isinstance(found, shapes.VarTupleType | shapes.ListType):
        yield from _structs(found.item_type)
    elif isinstance(found, shapes.DictType):
        yield from _structs(found.value_type)


def _spec(kind: type) -> str:
    """A struct that people write: values, defaults and what each field means."""
    about, meanings = _documentation(kind)
    text = f"\n## {kind.__name__}\n\n{about}\n\n| Field | Value | Default | |\n|---|---|---|---|\n"
    for field in _fields(kind):
        name, value = field.encode_name, _cell(_words(field.type))
        text += f"| `{name}` | {value} | {_default(field)} | {_cell(meanings.get(name, ''))} |\n"
    return text


def _answer(kind: type) -> str:
    """A struct that the program prints."""
    about, _ = _documentation(kind)
    text = f"\n### {kind.__name__}\n\n{about}\n"
    if kind.__struct_config__.omit_defaults:  # type: ignore[attr-defined]
        text += "\nFields that are 0 or empty are left out.\n"
    rows = (f"| `{field.encode_name}` | {_cell(_words(field.type))} |\n" for field in _fields(kind))
    return text + "\n| Field | Value |\n|---|---|\n" + "".join(rows)


def _fields(kind: type) -> tuple[shapes.Field, ...]:
    info = shapes.type_info(kind)
    assert isinstance(info, shapes.StructType)
    return info.fields


def _documentation(kind: type) -> tuple[str, dict[str, str]]:
    """The text of a docstring, and what its ``name: meaning`` lines say."""
    about: list[str] = []
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(kind.__doc__ or "").splitlines():
        match = _FIELD.match(line)
        if match and all(name in kind.__struct_fields__ for name in match[1].split(", ")):  # type: ignore[attr-defined]
            names = match[1].split(", ")
            meanings |= dict.fromkeys(names, match[2])
        elif names and line:
            meanings |= {name: f"{meanings[name]} {line}" for name in names}
        else:
            about.append(line)
    text = "\n".join(about).strip()
    return text.replace("``", "`"), {name: text.replace("``", "`") for name, text in meanings.items()}


def _default(field: shapes.Field) -> str:
    if field.required:
        return "must be given"
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    value = field.default
    if value is None:
        return ""
    if value in ((), {}, "", []):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _words(found: Any) -> str:
    """A type as a person reads it."""
    write = _WRITERS.get(type(found))
    return "any value" if write is None else write(found)


def _union(found: shapes.UnionType) -> str:
    parts = sorted(found.types, key=lambda part: isinstance(part, shapes.NoneType))
    return " or ".join(_words(part) for part in parts)


def _list(found: Any) -> str:
    most = f" of at most {found.max_length}" if found.max_length else ""
    return f"list{most}: {_words(found.item_type)}"


def _number(found: Any) -> str:
    words = ["whole number" if isinstance(found, shapes.IntType) else "number"]
    if found.ge is not None:
        words.append(f"from {found.ge:g}")
    if found.le is not None and found.le < _NO_REAL_LIMIT:
        words.append(f"to {found.le:g}" if found.le < 10_000 else f"to {found.le:,}")
    return " ".join(words)


def _text(found: shapes.StrType) -> str:
    if found.pattern == NAME_PATTERN:
        return "name"
    if found.pattern:
        return f"text like `{found.pattern.removeprefix('^').removesuffix(chr(92) + 'Z')}`"
    return "text" if found.max_length is None else f"text of at most {found.max_length}"


_NO_REAL_LIMIT = 2**44
_WRITERS: dict[type, Callable[[Any], str]] = {
    shapes.UnionType: _union,
    shapes.IntType: _number,
    shapes.FloatType: _number,
    shapes.StrType: _text,
    shapes.LiteralType: lambda found: " or ".join(f'"{value}"' for value in found.values),
    shapes.VarTupleType: _list,
    shapes.ListType: _list,
    shapes.DictType: lambda found: f"object: {_words(found.value_type)} by name",
    shapes.StructType: lambda found: f"[{found.cls.__name__}](#{found.cls.__name__.lower()})",
    shapes.CustomType: lambda found: 'GiB or "512MiB"' if found.cls is Memory else "any value",
    shapes.BoolType: lambda _: "true or false",
    shapes.NoneType: lambda _: "null",
}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


_CODES = ", ".join(f"`{code}` ({number})" for code, number in verbs.EXIT_CODES.items())
_CLI_START = f"""\
`python run_client.py ADDRESS [ALGORITHM]` opens the prompt, `python run_client.py ADDRESS VERB …` runs a
verb. Installed, the program is called `hpgreedy`. `ADDRESS` is a host name, an IP address, `host:port` or
`[IPv6]:port`; before a verb it can be left out on the head node: then it is this machine's.

The second word is a verb when there is one of that name, else an algorithm. The port is 5000 unless the
address, `--port` or the kept key names another.

**Exit codes.** 0 done; 1 refused, failed or unreachable; 2 bad usage or bad input; 130 interrupted. Every
error is one sentence on standard error. With `--json` it stands on standard output too, as
`{{"error": {{"code", "message", "field"}}}}`; operations that failed stand there in the answer, each with its
`error`. Codes of the coordinator: {_CODES}. Codes of the client itself: `usage` (2), `bad_request` (2),
`unreachable` (1), `failed` (1).

**Keys.** On the head node the key that the coordinator leaves under its state root opens it, for the user
that may read it (`--state` or `HPGREEDY_STATE` name another root). Elsewhere `join TOKEN`, or `--join TOKEN`
with any verb, introduces a key of the client's own, which is kept under `~/.config/hpgreedy` (with
`--state DIR` under `DIR/client`).

**Waiting.** Verbs that change something return when the operation has ended, `submit` as soon as it is on the
coordinator's disk. An operation goes on by itself: interrupting the client, or `--timeout`, does not stop it.

"""
_SPEC_START = f"""\
A cluster file is `{{"hosts": [HostSpec, …], "vms": [VmSpec, …]}}`; `submit` also takes a list of VMs or a
single VM. `hosts` describe a simulation (`simulate place`): a live cluster uses its own. There VMs may have a
`cpu` or `memory` of 0, such as those of packing benchmarks; `submit` refuses them. A field that this version
does not know is an error that names it. A *name* is {NAME_RULE}. Memory and disks are counted in GiB, or in
the unit that stands behind the number (MiB, GiB, TiB).
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
