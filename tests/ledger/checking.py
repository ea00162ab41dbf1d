"""What a check of an equation is, how it is run, and how an equation is altered to see that its check notices.

A check evaluates the printed LaTeX, member by member, in worlds whose numbers come from elsewhere: from the joint
Gaussian of a whole chain, from a grid, from SymPy.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import re
from collections.abc import Callable, Iterator

import numpy as np
import sympy

from tests.ledger.reader import ReadingError, statements, value
from tests.ledger.variables import World


@dataclasses.dataclass(frozen=True)
class Check:
    """How one equation is checked.

    Args:
        code: where the library or the chapter computes it, as "file: name".
        how: one sentence for the ledger page.
        worlds: makes the worlds in which all members of each chain must agree.
        mutants: (old, new) pieces of LaTeX; each altered equation must fail the check.
        tolerance: relative, for the members that stand after an approximately-equal sign; for all others it is 1e-9.
        blind: alterations of single signs, digits or indices that change nothing, with the reason in a comment.
    """

    code: str
    how: str
    worlds: Callable[[], list[World]]
    mutants: tuple[tuple[str, str], ...]
    tolerance: float = 0.0
    blind: tuple[str, ...] = ()


ORDERS = {
    "<": operator.lt,
    ">": operator.gt,
    r"\le": operator.le,
    r"\ge": operator.ge,
    r"\ll": lambda small, large: 10 * abs(small) < abs(large),
    r"\gg": lambda large, small: 10 * abs(small) < abs(large),
}
ALTERED_MEANS_FALSE = (AssertionError, ReadingError, ArithmeticError, LookupError, ValueError, TypeError)


def verify(latex, check):
    """Evaluate all members of all chains in all worlds, and raise AssertionError where two disagree."""
    chains = statements(latex)
    assert chains and all(len(chain) > 1 for chain in chains), "it states nothing"
    for world in check.worlds():
        for chain in chains:
            for (_, first), (relation, second) in itertools.pairwise(chain):
                if relation == r"\sim":
                    variable = value(first, world, random=True)
                    left = np.array([variable.mean, (variable.weights**2).sum()], dtype=float)
                else:
                    left = value(first, world)
                right = value(second, world)
                text = f"{''.join(first)} {relation} {''.join(second)}: {left} against {right}"
                if relation in ORDERS:
                    assert ORDERS[relation](left, right), text
                elif world.symbolic:
                    assert sympy.simplify(left - right) == 0, text
                else:
                    tolerance = check.tolerance if relation == r"\approx" else 1e-9
                    assert np.allclose(left, right, rtol=tolerance, atol=1e-12), text


def fails(latex, check):
    """Say whether a check notices that its equation was altered."""
    try:
        with np.errstate(all="ignore"):
            verify(latex, check)
    except ALTERED_MEANS_FALSE:
        return True
    return False


SWEEP = {
    "+->-": (r"(?<![{(])\+", "-"),
    "-->+": (r"(?<=[\w})\]] )-(?= )", "+"),
    "digit": (r"\d+", lambda match: str(int(match[0]) + 1)),
    "sqrt": (r"\\sqrt(?=\{)", ""),
    "bar": (r"\\bar(?=\\)", ""),
    "t->t-1": (r"_t\b(?!\w)", "_{t-1}"),
    "t-1->t": (r"_\{t-1\}", "_t"),
    "tilde": (r"\\tilde(?=\\)", ""),
    "turned": (r"<|>|\\le\b|\\ge\b", lambda match: {"<": ">", ">": "<", r"\le": ">", r"\ge": "<"}[match[0]]),
}


def altered(latex: str) -> Iterator[tuple[str, str]]:
    """Alter one sign, number, root, bar or index at a time: (kind and place, altered LaTeX)."""
    for kind, (pattern, new) in SWEEP.items():
        for match in re.finditer(pattern, latex):
            text = new(match) if callable(new) else new
            yield (
                f"{kind} in {latex[max(0, match.start() - 10) :][:20]}",
                latex[: match.start()] + text + latex[match.end() :],
            )
