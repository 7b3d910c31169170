"""Turns what docstrings write for doctest and as formulae into Markdown, before the pages are built.

mkdocstrings reads docstrings as Markdown, where a line that begins with ``>>>`` is a quotation and
``.. math::`` is plain text.
"""

from __future__ import annotations

import re
from typing import Any

import griffe
from latex2mathml.converter import convert

_DOCTEST = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
_DISPLAYED = re.compile(r"^\.\. math:: ?(.*(?:\n[ ]+\S.*)*)", re.MULTILINE)
_INLINE = re.compile(r":math:`([^`]*)`")
# Signs that Markdown would read as emphasis or code.
_MARKUP = str.maketrans({sign: f"&#{ord(sign)};" for sign in "*_`\\"})


def to_markdown(docstring: str) -> str:
    r"""Returns the docstring with fenced examples and MathML formulae.

    >>> to_markdown("One.\n\n>>> 1 + 1\n2")
    'One.\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    text = _DISPLAYED.sub(lambda match: f"<div>{_mathml(match[1], 'block')}</div>", docstring)
    text = _INLINE.sub(lambda match: _mathml(match[1], "inline"), text)
    return _DOCTEST.sub(lambda match: f"```pycon\n{match[0]}\n```", text)


def _mathml(formula: str, display: str) -> str:
    return convert(" ".join(formula.split()), display=display).translate(_MARKUP)


class Docstrings(griffe.Extension):
    """Applies ``to_markdown`` to every docstring of the package."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Changes the docstring in place."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
