"""First fit: the first host that has room."""

from __future__ import annotations

from hpgreedy.placement.decision import Algorithm, Choice, Question


def choose(question: Question) -> Choice | None:
    """The first candidate in the order of registration."""
    if not question.candidates:
        return None
    host, *others = question.candidates
    return Choice(
        host=host.key,
        why=f"first fit: {host.key} is the first host in order of registration that takes it",
        runner_up=others[0].key if others else None,
    )


FIRST_FIT = Algorithm(
    name="first_fit",
    summary="the first host, in order of registration, that has room",
    source="a classic of bin packing",
    choose=choose,
)
