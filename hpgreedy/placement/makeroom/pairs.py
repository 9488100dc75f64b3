"""Which VMs would have to leave a host so that another one fits there: whole arrays at a time.

What is left out for want of room elsewhere could not have moved: vCPUs and memory alone are looked at for
that, so too many may be let through and never too few.
"""

from __future__ import annotations

import numpy as np

from hpgreedy.placement.fleet import CPU, MEMORY
from hpgreedy.placement.makeroom.board import NEWCOMER, Board, Needs, hosts_of

MANY = 2_000_000
"""Pairs that are looked at all at once; where there are more, their second VMs are looked for one by one."""


class Sets:
    """Sets of one or two VMs of one host, cheapest first: `first`, `second` (sets,), -1 where there is one.

    least: MiB that any chain moves which begins with the set; moves: how many moves it has at least; hosts:
    where they stand.
    """

    __slots__ = ("first", "hosts", "least", "moves", "second")

    def __init__(
        self, hosts: np.ndarray, first: np.ndarray, second: np.ndarray, least: np.ndarray, moves: np.ndarray
    ) -> None:
        order = np.lexsort((second, first, hosts, moves, least))
        self.hosts, self.first, self.second = hosts[order], first[order], second[order]
        self.least, self.moves = least[order], moves[order]

    def __len__(self) -> int:
        return len(self.first)


class Pairs:
    """Answers for one search which VMs may make way for a VM, and what that costs at least."""

    def __init__(self, board: Board) -> None:
        self.board = board
        up = hosts_of(board.fleet.up, board.free.shape[1])
        self.at_once = fitting(board.needs, board.free[:, up])
        """Those that may find room before anything else has moved, (vms,)."""
        cheapest = board.memory[self.at_once]
        self._cheapest = int(cheapest.min()) if len(cheapest) else 0
        self._leaves = [self.at_once]

    def can_leave(self, spare: int) -> np.ndarray:
        """Those that may find room after `spare` other moves, (vms,)."""
        while len(self._leaves) <= spare:
            others = self._leaves[-1]
            later = fitting(self.board.needs, self._emptied(others, len(self._leaves)))
            self._leaves.append(others | later)
        return self._leaves[spare]

    def _emptied(self, others: np.ndarray, spare: int) -> np.ndarray:
        """What is free on each host at most once `spare` of the others have left it, (2, hosts)."""
        board = self.board
        room: np.ndarray = np.maximum(board.free[[CPU, MEMORY]], 0)
        for row in (CPU, MEMORY):
            amounts, at = board.needs[row][others], board.at[others]
            order = np.lexsort((-amounts, at))
            amounts, at = amounts[order], at[order]
            starts = np.flatnonzero(np.r_[True, at[1:] != at[:-1]]) if len(at) else np.zeros(0, dtype=int)
            rank = np.arange(len(at)) - np.repeat(starts, np.diff(np.r_[starts, len(at)]))
            np.add.at(room[row], at[rank < spare], amounts[rank < spare])
        return room

    def making_way(self, needs: Needs, mask: int, spare: int, without: frozenset[int], before: int) -> Sets:
        """The sets of up to two VMs after whose leaving a host of the mask, which has too little room for
        what is needed, has enough, or may have with more moves by VMs of higher numbers.

        `spare` moves are left for the set and all that it takes. The chain has other moves already, of the
        VMs `without`, and `before` of them may come first.
        """
        board = self.board
        hosts = hosts_of(mask, board.free.shape[1])
        who = hosts[board.at] & self.can_leave(spare - 1 + before)
        who[[vm for vm in without if vm != NEWCOMER]] = False
        chosen = np.flatnonzero(who)
        rows = [row for row, _ in needs]  # vCPUs first, then memory
        lack = np.array([[amount] for _, amount in needs]) - board.free[rows][:, board.at[chosen]]
        takes = board.needs[rows][:, chosen]
        helps = (np.minimum(lack, takes) > 0).any(axis=0)
        chosen, lack, takes = chosen[helps], lack[:, helps], takes[:, helps]
        alone = (takes >= lack).all(axis=0)
        singles = chosen[alone]
        begun = any(vm != NEWCOMER and self.at_once[vm] for vm in without)
        if spare == 1:
            return self._priced(singles, np.full(len(singles), -1), np.zeros(len(singles)), begun=begun)
        rest = ~alone & self.can_leave(spare - 2 + before)[chosen]
        counts = np.bincount(board.at[chosen[rest]])
        ways = self._two if int((counts * counts).sum()) <= 2 * MANY else self._one
        low, high, still = ways(chosen[rest], lack[:, rest], takes[:, rest], spare)
        first = np.concatenate([singles, low])
        second = np.concatenate([np.full(len(singles), -1), high])
        return self._priced(first, second, np.concatenate([np.zeros(len(singles)), still]), begun=begun)

    def _one(
        self, chosen: np.ndarray, lack: np.ndarray, takes: np.ndarray, _spare: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same for VMs who do not suffice alone: whoever else leaves has a higher number."""
        still = np.maximum((lack - takes)[1], self.board.memory[chosen])
        return chosen, np.full(len(chosen), -1), still

    def _two(
        self, chosen: np.ndarray, lack: np.ndarray, takes: np.ndarray, spare: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs on one host, the lower number first, neither of whom suffices alone, and how much memory
        must leave besides.
        """
        order = np.lexsort((chosen, self.board.at[chosen]))
        chosen, lack, takes = chosen[order], lack[:, order], takes[:, order]
        at = self.board.at[chosen]
        low: list[np.ndarray] = [chosen[:0]]
        high: list[np.ndarray] = [chosen[:0]]
        still: list[np.ndarray] = [chosen[:0]]
        for apart in range(1, len(chosen)):
            same = at[:-apart] == at[apart:]
            if not same.any():
                break
            left = lack[:, apart:] - takes[:, :-apart] - takes[:, apart:]
            enough = (left <= 0).all(axis=0)
            if spare == 2:
                same &= enough
            low.append(chosen[:-apart][same])
            high.append(chosen[apart:][same])
            more = np.maximum(left[1], self.board.memory[chosen[apart:]])
            still.append(np.where(enough, 0, more)[same])
        return np.concatenate(low), np.concatenate(high), np.concatenate(still)

    def _priced(self, first: np.ndarray, second: np.ndarray, still: np.ndarray, *, begun: bool) -> Sets:
        """`still` is the least memory that must leave besides, 0 when nothing must.

        A chain's first move needs no other before it: where no VM so far is such a one, one more moves.
        """
        memory, once = self.board.memory, self.at_once
        paired = second >= 0
        least = memory[first] + np.where(paired, memory[second], 0)
        more = ~(once[first] | (paired & once[second]) | begun)
        besides = np.maximum(still, np.where(more, self._cheapest, 0)).astype(np.int64)
        moves = 1 + paired + (more | (still > 0))
        return Sets(self.board.at[first], first, second, least + besides, moves)


def fitting(needs: np.ndarray, room: np.ndarray) -> np.ndarray:
    """For which columns of `needs` (rows, n) some column of `room` (rows, m) has vCPUs and memory: (n,)."""
    if not room.shape[1]:
        return np.zeros(needs.shape[1], dtype=bool)
    order = np.argsort(-room[CPU], kind="stable")
    cpu, most = -room[CPU][order], np.maximum.accumulate(room[MEMORY][order])
    enough = np.searchsorted(cpu, -needs[CPU], side="right")
    found: np.ndarray = (enough > 0) & (most[np.maximum(enough, 1) - 1] >= needs[MEMORY])
    return found
