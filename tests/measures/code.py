"""What the source of a tree amounts to: files, lines, functions, private functions that are used once.

Nothing is imported from the tree: it is read as text and as syntax trees.
"""

import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Documented: TypeAlias = ast.Module | ast.ClassDef | Function

_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the package.

    Attributes:
        name: Its path below the package, such as `core/decide.py`.
        text: Its source.
        syntax: The same, parsed.
    """

    name: str
    text: str
    syntax: ast.Module

    def lines(self) -> int:
        """Return how many lines it has, blank ones too."""
        return self.text.count("\n")

    def docstring_lines(self) -> set[int]:
        """Return the numbers of the lines that are docstrings, those of constants and fields too."""
        return {
            line
            for node in ast.walk(self.syntax)
            if isinstance(node, ast.Expr) and _is_text(node.value)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }

    def code_lines(self) -> int:
        """Return how many lines hold code: neither blank, nor comment, nor docstring."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        spans = (range(each.start[0], each.end[0] + 1) for each in tokens if each.type not in _NO_CODE)
        return len({line for span in spans for line in span} - self.docstring_lines())

    def functions(self) -> Iterator[Function]:
        """Return all functions and methods, nested ones too."""
        return (node for node in ast.walk(self.syntax) if isinstance(node, Function))

    def private_functions(self) -> Counter[str]:
        """Return how often the module uses each of its private functions and methods, by name."""
        private = {each.name for each in self.functions() if each.name.startswith("_") and each.name[-2:] != "__"}
        used = Counter(name for node in ast.walk(self.syntax) for name in _used(node) if name in private)
        return Counter({name: used[name] for name in private})


def modules_of(tree: Path) -> list[Module]:
    """Return the modules of the package in a tree, in order."""
    package = tree / "hermes_cache"
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(path.relative_to(package).as_posix(), text, ast.parse(text)))
    return found


def code_figures(modules: list[Module]) -> dict[str, str]:
    """Return the figures of a package, each by its name."""
    lengths = [
        (each.end_lineno or each.lineno) - each.lineno + 1 for module in modules for each in module.functions()
    ]
    uses = [count for module in modules for count in module.private_functions().values()]
    lines, code = sum(each.lines() for each in modules), sum(each.code_lines() for each in modules)
    docstrings = sum(len(each.docstring_lines()) for each in modules)
    rest = lines - code - docstrings
    small = sum(each.lines() < 60 for each in modules if not each.name.endswith("__init__.py"))
    return {
        "files": f"{len(modules)}",
        "files under 60 lines, without __init__": f"{small}",
        "lines": f"{lines:,}",
        "lines of code / docstrings / blank and comments": f"{code:,} / {docstrings:,} / {rest:,}",
        "functions: number; median, p90, longest in lines": (
            f"{len(lengths):,}; {median(lengths):.0f}, {quantiles(lengths, n=10)[-1]:.0f}, {max(lengths)}"
        ),
        "private functions, used once": f"{len(uses)}, {uses.count(1)}",
    }


def words_of(module: Module) -> set[str]:
    """Return the words of a module: names, dotted names such as `Freshness.ANY`, and strings in single quotes."""
    docstrings = {id(node.value) for node in ast.walk(module.syntax) if isinstance(node, ast.Expr)}
    words: set[str] = set()
    for node in ast.walk(module.syntax):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            words.add(f"'{node.value}'")
        words.update(_named(node))
    return words


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _used(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    if isinstance(node, ast.Attribute):
        yield node.attr


def _named(node: ast.AST) -> Iterator[str]:
    yield from _used(node)
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.alias(name=name):
            yield name
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            yield f"{owner}.{name}"
        case ast.MatchClass(kwd_attrs=names):
            yield from names
