"""Next fit: round the hosts, on from the one that was used last."""

from __future__ import annotations

from hpgreedy.placement.decision import Algorithm, Choice, Question


def choose(question: Question) -> Choice | None:
    """The first candidate after the host used last, in a circle in the order of registration.

    That host itself comes last. Without one, or when it is gone, the circle begins at the first host.
    """
    order = {key: n for n, key in enumerate(question.cluster.hosts)}
    begin = order[question.last] + 1 if question.last in order else 0
    circle = sorted(question.candidates, key=lambda host: (order[host.key] - begin) % len(order))
    if not circle:
        return None
    after = f"after {question.last}, which was used last," if begin else "in order of registration"
    return Choice(
        host=circle[0].key,
        why=f"next fit: {circle[0].key} is the first host {after} that takes it",
        runner_up=circle[1].key if len(circle) > 1 else None,
    )


NEXT_FIT = Algorithm(
    name="next_fit",
    summary="the first host with room after the one that was used last, in a circle",
    source="a classic of bin packing, in the circular form of the original HP Greedy",
    choose=choose,
)
