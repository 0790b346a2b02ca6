"""Programs that print what they hold: the harmless-looking habit of code data that the paper calls Debug.

The syntax tree is rewritten, so the program still runs and still gives the same results: entries, assignments, loop
variables and results are printed or logged. Comments are lost on the way; docstrings stay.
"""

import ast
import random
import re
from collections.abc import Iterator, Sequence

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\r?\n(.*?)```", re.DOTALL | re.IGNORECASE)
_MARK = "[debug]"
_LOGGING = "import logging\nlogging.basicConfig(level=logging.DEBUG, format='%(message)s')"
_INSTRUCTION = (
    "Print the internal variables, for debugging.",
    "Add debug prints.",
    "Log the intermediate values so that I can follow what it does.",
)


def python_in(text: str) -> str | None:
    """The Python program in an answer: its first fenced block, or the whole if that is one. None if there is none.

    A lone expression is not taken for a program: prose of one word is one too.
    """
    fenced = _FENCE.search(text)
    code = (fenced.group(1) if fenced else text).replace("\r\n", "\n").replace("\t", "    ").strip("\n")
    tree = _parsed(code)
    if tree is None or not any(_speaks(node) for node in ast.walk(tree)):
        return None
    return code


def _parsed(code: str) -> ast.Module | None:
    """The program's syntax tree, or None if it is none that Python takes."""
    try:
        tree = ast.parse(code)
        compile(tree, "sample", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree


def with_debug(code: str, *, log: bool = False) -> str:
    """The program with every entry, assignment, loop variable and result printed (or, with `log`, logged).

    Raises:
        SyntaxError: it is no Python program.
    """
    tree = ast.parse(code)
    tree.body = _Rewriter(log).block(tree.body, "main")
    if log:
        at = _after_head(tree.body)
        tree.body[at:at] = ast.parse(_LOGGING).body
    return ast.unparse(ast.fix_missing_locations(tree))


def debug_answer(answer: str, rng: random.Random) -> str | None:
    """An answer whose program speaks, in a fence as before if it had one; None if there is no program in it."""
    code = python_in(answer)
    if code is None:
        return None
    spoken = with_debug(code, log=rng.random() < 0.5)
    fenced = _FENCE.search(answer)
    if not fenced:
        return spoken
    return f"{answer[: fenced.start(1)]}{spoken}\n{answer[fenced.end(1) :]}"


def debug_request(request: str, rng: random.Random) -> str:
    """The request, with the wish for debug output that the answer then meets."""
    return f"{request.rstrip()}\n\n{rng.choice(_INSTRUCTION)}"


def _speaks(node: ast.AST) -> bool:
    return isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.FunctionDef, ast.For))


def _after_head(body: Sequence[ast.stmt]) -> int:
    """Where statements may begin: after the docstring and `from __future__`."""
    at = 0
    for index, node in enumerate(body):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and index == 0
        if is_text or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            at = index + 1
        else:
            break
    return at


class _Rewriter:
    """Puts a line of debug output after what it tells of."""

    def __init__(self, log: bool) -> None:
        self._log = log

    def block(self, body: Sequence[ast.stmt], where: str) -> list[ast.stmt]:
        return [made for node in body for made in self._statement(node, where)]

    def _statement(self, node: ast.stmt, where: str) -> Iterator[ast.stmt]:
        if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
            yield from self._result(node, where)
            return
        self._inside(node, where)
        yield node
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from self._told(target, where)
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
            yield from self._told(node.target, where)

    def _inside(self, node: ast.stmt, where: str) -> None:
        """Rewrite the blocks that a statement holds."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            at = _after_head(node.body)
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = [argument.arg for argument in arguments if argument.arg not in {"self", "cls"}]
            entry = self._line(f"enter {node.name}", names, "")
            node.body = [*node.body[:at], entry, *self.block(node.body[at:], node.name)]
            return
        if isinstance(node, ast.ClassDef):
            # Statements of a class body may mean something to its metaclass (an enum, a data class): methods only.
            for inner in node.body:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    self._inside(inner, node.name)
            return
        for field in ("body", "orelse", "finalbody"):
            held = getattr(node, field, None)
            if isinstance(held, list) and held:
                setattr(node, field, self.block(held, where))
        for handler in getattr(node, "handlers", []):
            handler.body = self.block(handler.body, where)
        for case in getattr(node, "cases", []):
            case.body = self.block(case.body, where)
        if isinstance(node, (ast.For, ast.AsyncFor)):
            node.body = [*self._told(node.target, where), *node.body]

    def _result(self, node: ast.Return, where: str) -> Iterator[ast.stmt]:
        name = "debug_result"
        value = node.value
        assert value is not None  # the caller has looked
        yield ast.Assign(targets=[ast.Name(name, ast.Store())], value=value, lineno=0)
        yield self._line(f"leave {where}", [name], "result")
        yield ast.Return(ast.Name(name, ast.Load()))

    def _told(self, target: ast.expr, where: str) -> Iterator[ast.stmt]:
        names = [name for name in _names(target) if not name.startswith("__")]
        if names:
            yield self._line(where, names, "")

    def _line(self, where: str, expressions: Sequence[str], shown: str) -> ast.stmt:
        parts = ", ".join(f"{shown or expression} = {{{expression}!r}}" for expression in expressions)
        text = f"{_MARK} {where}" + (f": {parts}" if parts else "")
        call = "logging.debug" if self._log else "print"
        quote = 'f"' if expressions else '"'
        return ast.parse(f'{call}({quote}{text}")').body[0]


def _names(target: ast.expr) -> Iterator[str]:
    """What of an assignment's target can be read back without doing anything: names, and attributes of self."""
    if isinstance(target, ast.Name):
        if target.id != "_":
            yield target.id
    elif isinstance(target, (ast.Tuple, ast.List)):
        for inner in target.elts:
            yield from _names(inner)
    elif isinstance(target, ast.Starred):
        yield from _names(target.value)
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        yield f"self.{target.attr}"
    elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
        yield target.value.id
