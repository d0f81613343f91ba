"""The script of measures counts what its table says."""

import ast
from textwrap import dedent

from tests.measures.code import Module, words_of


def test_lines_are_split_into_code_and_docstrings() -> None:
    module = _module(
        '''
        """A module.

        It has one constant.
        """

        # Why it is one.
        ONE = 1
        """A constant."""
        TEXT = """Two
        lines"""
        '''
    )

    assert (module.lines(), len(module.docstring_lines()), module.code_lines()) == (10, 5, 3)


def test_private_functions_are_counted_by_their_uses() -> None:
    module = _module(
        """
        def _once(): return 1
        def _twice(): return _once()
        def public(): return _twice() + self._twice()
        def _never(): return __name__
        """
    )

    assert module.private_functions() == {"_once": 1, "_twice": 2, "_never": 0}


def test_words_are_names_and_strings_but_not_docstrings() -> None:
    module = _module(
        """
        from here.there import name as other
        def function(argument): "docstring"; call(keyword="string").attribute
        """
    )

    assert words_of(module) == {
        "name", "function", "argument", "call", "keyword", "'string'", "attribute"
    }  # fmt: skip


def _module(text: str) -> Module:
    text = dedent(text).lstrip("\n")
    return Module("module.py", text, ast.parse(text))
