"""Reads the LaTeX of the book and evaluates it, so that a printed formula can be tested.

`statements(latex)` splits an equation into chains such as a = b = c, and `value(latex, world)` evaluates one member.
A world gives every name its meaning: a number, a table that is called with the subscripts, or a random variable.
Anything the reader does not know is an error, never a guess.
"""

from __future__ import annotations

import functools
import math
import operator
import re

import numpy as np
import sympy

from tests.ledger.variables import World, condition, covariance

RELATIONS = {"=", "<", ">", r"\approx", r"\sim", r"\propto", r"\le", r"\ge", r"\ll", r"\gg"}
SPACES = {r"\,", r"\;", r"\:", r"\!", r"\left", r"\right", r"\big", r"\Big", r"\bigl", r"\bigr", r"\Bigl", r"\Bigr"}
OPENING, CLOSING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}, {")", "]", "}", r"\}"}
NAMED_FUNCTIONS = {
    *("q", "p", r"p_\theta", "f", "f'", "g", "SNR", r"D_\mathrm{KL}"),
    *(r"\tilde\mu_t", r"\mu_\theta", r"\varepsilon_\theta", "s_t", r"s_\theta"),
}
FUNCTIONS = {r"\log": "log", r"\exp": "exp", r"\cos": "cos", r"\sin": "sin", r"\max": "max", r"\min": "min"}


class ReadingError(ValueError):
    """The equation uses something that the reader or the world does not know."""


def statements(latex: str) -> list[list[tuple[str | None, list[str]]]]:
    """Split an equation into chains of members, each member with the relation that stands before it."""
    latex = re.sub(r"\\(begin|end)\{aligned\}", "", latex).replace("&", "").replace("\\\\", " \\newline ")
    chains, relation, member, depth = [[]], None, [], 0

    def close():
        nonlocal relation, member
        while member and member[-1] in {",", "."}:
            member.pop()
        if member:
            chains[-1].append((relation, member))
        relation, member = None, []

    gap = False
    for token in tokens(latex):
        if token in {r"\newline", r"\quad", r"\qquad"}:
            gap = True
            continue
        if gap and depth == 0 and token not in RELATIONS | {"+", "-", r"\times"}:
            close()
            chains.append([])
        gap = False
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0 and token in RELATIONS:
            close()
            relation = token
        else:
            member.append(token)
    close()
    return [chain for chain in chains if chain]


def tokens(latex: str) -> list[str]:
    """Cut LaTeX into commands, numbers, and single characters, without what only moves things on the page."""
    latex = re.sub(r"(\S+)_1(?: \1_2)? \\cdots \1_(\w)", r"\\prod_{i=1}^{\2} \1_i", latex)
    found = re.findall(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S", latex)
    return [token for token in found if token not in SPACES]


def value(member: list[str], world: World, random: bool = False):
    """Evaluate one member of a chain in a world, as a number or (random) as a random variable."""
    reader = Reader(member)
    node = reader.expression()
    if reader.position != len(member):
        raise ReadingError(f"cannot read on at {' '.join(member[reader.position :])}")
    return node(world.names | world.random if random else world.names, world)


def _apply(name, number):
    if isinstance(number, sympy.Basic):
        return getattr(sympy, name)(number)
    return getattr(np, name)(number)


def _length(vector):
    return np.sqrt(np.square(np.asarray(vector, dtype=float)).sum())


def _join(operation, *nodes):
    return lambda names, world: operation(*(node(names, world) for node in nodes))


def _flat(items):
    return [leaf for item in items for leaf in (_flat(item) if isinstance(item, list) else [item])]


class Reader:
    """A recursive-descent reader; each method returns a function of (names, world)."""

    def __init__(self, found: list[str]):
        self.tokens, self.position = found, 0

    def peek(self, ahead=0):
        place = self.position + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def take(self, wanted=None):
        token = self.peek()
        if token is None or (wanted is not None and token != wanted):
            raise ReadingError(f"expected {wanted or 'more'}, found {token} in {' '.join(self.tokens)}")
        self.position += 1
        return token

    def group(self):
        """Take the tokens of {...}, or the single token that stands for it."""
        if self.peek() != "{":
            return [self.take()]
        return self.inside()

    def inside(self):
        """Take a bracketed stretch and return the tokens between the brackets."""
        closing = OPENING[self.take()]
        start, stack = self.position, [closing]
        while stack:
            token = self.take()
            if token == stack[-1]:
                stack.pop()
            elif token in OPENING:
                stack.append(OPENING[token])
            elif token in CLOSING:
                raise ReadingError(f"brackets do not match in {' '.join(self.tokens)}")
        return self.tokens[start : self.position - 1]

    @staticmethod
    def split(found, *separators):
        parts, depth = [[]], 0
        for token in found:
            depth += (token in OPENING) - (token in CLOSING)
            if depth == 0 and token in separators:
                parts.append([])
            else:
                parts[-1].append(token)
        return parts

    @staticmethod
    def sub(found):
        reader = Reader(found)
        node = reader.expression()
        if reader.position != len(found):
            raise ReadingError(f"cannot read on at {' '.join(found[reader.position :])}")
        return node

    def expression(self):
        negative = self.peek() in {"-", "+"} and self.take() == "-"
        node = self.term()
        if negative:
            node = _join(operator.neg, node)
        while self.peek() in {"+", "-"}:
            operation = operator.add if self.take() == "+" else operator.sub
            node = _join(operation, node, self.term())
        return node

    def term(self):
        node = self.factor()
        while True:
            token = self.peek()
            if token == "/":
                self.take()
                node = _join(operator.truediv, node, self.factor())
                continue
            if token in {r"\cdot", r"\times"}:
                self.take()
            elif token is None or token in CLOSING | {"+", "-", ",", ";", ":", r"\mid"} or self.at_differential():
                return node
            node = _join(operator.mul, node, self.factor())

    def at_differential(self):
        return self.tokens[self.position : self.position + 4] == [r"\mathrm", "{", "d", "}"]

    def factor(self):
        node = self.base()
        while self.peek() == "^":
            self.take()
            node = _join(operator.pow, node, self.sub(self.group()))
        return node

    def base(self):
        token = self.take()
        if re.fullmatch(r"\d+", token):
            return lambda names, world: sympy.Integer(token) if world.symbolic else int(token)
        if re.fullmatch(r"\d+\.\d+", token):
            return lambda names, world: float(token)
        if token in OPENING:
            self.position -= 1
            return self.sub(self.inside())
        if token in {r"\frac", r"\tfrac"}:
            return self.fraction()
        if token == r"\sqrt":
            return _join(functools.partial(_apply, "sqrt"), self.sub(self.group()))
        if token in FUNCTIONS:
            return self.function(FUNCTIONS[token])
        if token in {r"\sum", r"\prod"}:
            return self.repeated(token)
        if token == r"\int":
            return self.integral()
        if token == r"\pi":
            return lambda names, world: sympy.pi if world.symbolic else math.pi
        if token == r"\infty":
            return lambda names, world: math.inf
        if token == "e":
            return lambda names, world: sympy.E if world.symbolic else math.e
        if token == r"\mathcal" and self.group() == ["N"]:
            return self.gaussian()
        if token in {r"\operatorname", r"\mathbb"}:
            return self.moment("".join(self.group()))
        if token == "|":
            end = self.tokens.index("|", self.position)
            node = self.sub(self.tokens[self.position : end])
            self.position = end + 1
            return _join(_length, node)
        return self.name(token)

    def fraction(self):
        top, bottom = self.group(), self.group()
        if top[:1] == [r"\partial"] or top[:4] == [r"\mathrm", "{", "d", "}"]:
            key = "".join(top) + "/" + "".join(bottom)
            return lambda names, world: _known(names, key)
        return _join(operator.truediv, self.sub(top), self.sub(bottom))

    def function(self, name):
        power = None
        if self.peek() == "^":
            self.take()
            power = self.sub(self.group())
        if name in {"max", "min"}:
            parts = [self.sub(part) for part in self.split(self.inside(), ",")]
            return _join(lambda *numbers: getattr(np, name)(numbers), *parts)
        node = _join(functools.partial(_apply, name), self.factor())
        return node if power is None else _join(operator.pow, node, power)

    def repeated(self, sign):
        self.take("_")
        index, start = self.split(self.group(), "=")
        self.take("^")
        first, last, body = self.sub(start), self.sub(self.group()), self.term()
        combine = sum if sign == r"\sum" else math.prod

        def node(names, world):
            steps = range(int(first(names, world)), int(last(names, world)) + 1)
            return combine(body(names | {"".join(index): step}, world) for step in steps)

        return node

    def integral(self):
        """Integrate by the trapezoid rule; infinity is 60, far beyond where the worlds' densities live."""
        self.take("_")
        low = self.sub(self.group())
        self.take("^")
        high, body = self.sub(self.group()), self.term()
        self.position += 4
        variable = self.take()
        if self.peek() == "_":
            self.take()
            variable += "_" + "".join(self.group())

        def node(names, world):
            edges = [np.clip(edge(names, world), -60, 60) for edge in (low, high)]
            points = np.linspace(*edges, 200_001)
            return np.trapezoid(body(names | {variable: points}, world), points)

        return node

    def gaussian(self):
        parts = self.split(self.inside(), ";", ",")
        nodes = [self.sub(part) for part in parts]
        if len(nodes) == 2:
            return lambda names, world: tuple(node(names, world) for node in nodes)

        def node(names, world):
            at, mean, variance = (part(names, world) for part in nodes)
            return _apply("exp", -((at - mean) ** 2) / (2 * variance)) / _apply("sqrt", 2 * math.pi * variance)

        return node

    def moment(self, name):
        inner = self.inside()
        if name in {"E", "Var"} and len(self.split(inner, r"\mid")) > 1:
            first, given = self.split(inner, r"\mid")
            parts = [self.sub(part) for part in [first, *self.split(given, ",")]]

            def node(names, world):
                target, *given = (part(names | world.random, world) for part in parts)
                means, covariances = condition([target], given)
                return means[0] if name == "E" else covariances[0, 0]

            return node
        parts = [self.sub(part) for part in self.split(inner, ",")]
        if name == "E":
            return lambda names, world: _expectation(parts[0], names, world)
        if name == "Var" and len(parts) == 2:
            raise ReadingError("Var takes one variable")
        if name == "tr":
            return _join(np.trace, parts[0])
        if name in {"Var", "Cov"}:

            def node(names, world):
                variables = [part(names | world.random, world) for part in parts]
                return covariance(variables[0], variables[-1])

            return node
        raise ReadingError(f"unknown operator {name}")

    def name(self, token):
        """A number, a table with its subscripts, or a function with its arguments."""
        name = token
        if token in {r"\bar", r"\tilde", r"\hat"}:
            name += "".join(self.group())
        elif token == r"\mathrm":
            name = "".join(self.group())
        subscript = None
        while self.peek() in {"'", "_"}:
            if self.take() == "'":
                name += "'"
            elif subscript is None:
                subscript = self.group()
            else:
                raise ReadingError(f"two subscripts in {' '.join(self.tokens)}")
        if subscript is None:
            node, key = (lambda names, world: _called(_known(names, name))), name
        else:
            node, key = self.subscripted(name, subscript), f"{name}_{''.join(subscript)}"
        return self.call(key) if self.peek() == "(" and key in NAMED_FUNCTIONS else node

    def subscripted(self, name, subscript):
        pieces = [[self.sub(end) for end in self.split(part, ":")] for part in self.split(subscript, ",")]

        def node(names, world):
            key = f"{name}_{''.join(subscript)}"
            if key in names:
                return names[key]
            table, indices = _known(names, name), []
            for piece in pieces:
                ends = [int(end(names, world)) for end in piece]
                if len(ends) == 2:
                    return [table(index) for index in range(ends[0], ends[1] + 1)]
                indices += ends
            return table(*indices)

        return node

    def call(self, name):
        inner = self.inside()
        if r"\|" in inner:
            key = f"{name}({''.join(inner)})"
            # Inside a sum or a mean it depends on what the other names are there.
            return lambda names, world: found(names) if callable(found := _known(names, key)) else found
        groups = [[self.sub(part) for part in self.split(side, ",")] for side in self.split(inner, r"\mid")]

        def node(names, world):
            if name == "q":
                variables = [_flat([part(names | world.random, world) for part in side]) for side in groups]
                return world.density(variables[0], variables[1] if len(groups) > 1 else [])
            if len(groups) > 1:
                return _known(names, name)(*[_flat([part(names, world) for part in side]) for side in groups])
            return _known(names, name)(*[part(names, world) for part in groups[0]])

        return node


def _known(names, name):
    if name not in names:
        raise ReadingError(f"no meaning for {name}")
    return names[name]


def _called(item):
    return item() if callable(item) else item


def _expectation(body, names, world):
    """Integrate over the world's quadrature variables; a linear random variable has its mean.

    A node may be a dictionary, of several names that belong together, such as all points of a path.
    """
    if not world.quadrature:
        return body(names | world.random, world).mean
    total, grids = 0.0, list(world.quadrature.items())
    for nodes in np.ndindex(*[len(rule[0]) for _, rule in grids]):
        bound = {}
        for (name, rule), i in zip(grids, nodes, strict=True):
            bound |= rule[0][i] if isinstance(rule[0][i], dict) else {name: rule[0][i]}
        weight = math.prod(rule[1][i] for (_, rule), i in zip(grids, nodes, strict=True))
        total += weight * body(names | bound, world)
    return total
