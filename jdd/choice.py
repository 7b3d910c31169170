"""Choices: values of a recipe that record how they were made, so that they print, compare and serialise.

A stage, a sampler or a parametrisation is a handful of functions, and functions neither compare nor
serialise. A factory decorated with `register` therefore returns its value together with an
`Expression`: the name of the factory and its arguments. Two values with equal expressions are equal,
``str`` gives the call that makes the value, and ``to_json`` and ``from_json`` carry it to a file and
back. A value made without a registered factory works everywhere; it equals only itself, and
saving it raises a ``ValueError``.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import importlib
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np

from jdd.validation import did_you_mean, one_of

P = ParamSpec("P")
T = TypeVar("T", bound="Choice")

FACTORIES: dict[str, Callable[..., Choice]] = {}
"""Every registered factory, by name."""

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""Plain functions that may be arguments of a factory, such as ``losses.cross_entropy``, by name."""


_REGISTERING = ("jdd.baselines", "jdd.methods", "jdd.artefact")


@dataclasses.dataclass(frozen=True)
class Expression:
    """The call that made a value.

    Attributes:
      name: of the registered factory.
      arguments: name and value of every argument, defaults included, in the order of the signature.
      factory: the function itself. A notebook that defines it anew under the same name makes other values, so
        that no program compiled for the old ones is used.
    """

    name: str
    arguments: tuple[tuple[str, Any], ...]
    factory: Callable[..., Any] = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return self._call(lambda parameter, value: value != parameter.default, _text)

    def describe(self) -> str:
        """The call with every argument that is not None, defaults included, at every depth."""
        return self._call(lambda p, value: value is not None, lambda v: _text(v, Choice.describe))

    def _call(
        self, is_shown: Callable[[inspect.Parameter, Any], bool], text_of: Callable[[Any], str]
    ) -> str:
        parameters = inspect.signature(FACTORIES[self.name]).parameters
        values = dict(self.arguments)
        # What stands before items of *name can only be written without its name.
        before_items = any(p.kind is p.VAR_POSITIONAL and values[n] for n, p in parameters.items())
        parts = []
        for name, value in self.arguments:
            parameter = parameters.get(name)
            if parameter is None:  # of a group
                parts.append(f"{name}={text_of(value)}")
            elif parameter.kind is parameter.VAR_POSITIONAL:
                parts += [text_of(item) for item in value]
            elif parameter.kind is parameter.KEYWORD_ONLY:
                parts += [f"{name}={text_of(value)}"] if is_shown(parameter, value) else []
            elif before_items or is_shown(parameter, value):
                is_positional = before_items or name == next(iter(parameters))
                parts.append(text_of(value) if is_positional else f"{name}={text_of(value)}")
        return f"{self.name}({', '.join(parts)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Choice:
    """A value of a recipe.

    Attributes:
      expression: the call that made it; None where no registered factory did. `register` sets it;
        ``dataclasses.replace`` makes another value, which has none.
    """

    expression: Expression | None = dataclasses.field(default=None, init=False)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        if self.expression is None or other.expression is None:
            return self is other
        return self.expression == other.expression

    def __hash__(self) -> int:
        return id(self) if self.expression is None else hash(self.expression)

    def __repr__(self) -> str:
        return (
            f"<unregistered {type(self).__name__}>"
            if self.expression is None
            else str(self.expression)
        )

    def describe(self) -> str:
        """The call that makes it, defaults included."""
        return repr(self) if self.expression is None else self.expression.describe()

    def with_arguments(self, **changes: Any) -> Any:
        """The same choice with other arguments.

        Raises:
          ValueError: if no registered factory made it, or the factory has no such argument.

        >>> from jdd.data import uniform
        >>> uniform(256).with_arguments(n=64)
        uniform(64)
        """
        if self.expression is None:
            raise ValueError(f"{self!r} has no arguments to change")
        arguments = dict(self.expression.arguments)
        for name in changes:
            if name not in arguments:
                allowed = ", ".join(arguments) or "none"
                raise ValueError(f"{self!r} has no {name} (its arguments: {allowed})")
        return _made(self.expression.name, [], arguments | changes)

    def parts(self) -> list[Choice]:
        """The choice itself, and every choice among its arguments, at any depth.

        >>> from jdd.matching import chain, gradients
        >>> [str(part) for part in chain(gradients()).parts()]
        ['chain(gradients())', 'gradients()']
        """
        arguments = () if self.expression is None else self.expression.arguments
        items = (i for _, a in arguments for i in (a if isinstance(a, tuple) else (a,)))
        return [self, *(p for i in items if isinstance(i, Choice) for p in i.parts())]

    def to_json(self) -> dict[str, Any]:
        """The expression as JSON; the inverse is `from_json`.

        Raises:
          ValueError: if the value, or an argument of it, was not made by a registered factory.
        """
        return _to_json(self, type(self).__name__)


def register(factory: Callable[P, T], name: str = "") -> Callable[P, T]:
    """Decorates a factory, so that what it makes can be compared, printed and saved by its name.

    The name is that of the function unless another is given. Arguments may be numbers, texts, None,
    tuples, other choices, and functions that `register_function` knows.

    Raises:
      ValueError: if another factory has this name, or (when called) the factory returns no choice.

    >>> from jdd.data import Sampler, uniform
    >>> @register
    ... def first_images(n: int) -> Sampler:
    ...     return dataclasses.replace(uniform(n))
    >>> first_images(3), first_images(3) == first_images(n=3), first_images(3) == first_images(4)
    (first_images(3), True, False)
    """
    name, signature = name or factory.__name__, inspect.signature(factory)
    registered = FACTORIES.get(name)
    if registered is not None and registered.__module__ != factory.__module__:
        raise ValueError(f"the name {name!r} is taken by a factory of {registered.__module__}")

    made: Callable[..., T] = factory

    def record(args: Any, kwargs: Any) -> T:
        value: T = made(*args, **kwargs)
        if not isinstance(value, Choice):
            raise ValueError(f"{name} must return a choice, got {type(value).__name__}")
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments: list[tuple[str, Any]] = []
        for key, argument in bound.arguments.items():
            is_group = signature.parameters[key].kind is inspect.Parameter.VAR_KEYWORD
            if is_group and "choice" in argument:
                raise ValueError(f"{name}: no group can be named 'choice'")
            entries = argument.items() if is_group else [(key, argument)]
            arguments += [(entry, _frozen(content)) for entry, content in entries]
        expression = Expression(name, tuple(arguments), made)
        value = dataclasses.replace(value)  # the factory may return a value that others hold
        try:
            hash(expression)
        except TypeError:  # an array, for example
            return value
        object.__setattr__(value, "expression", expression)
        return value

    def call(*args: Any, **kwargs: Any) -> T:
        return record(args, kwargs)

    # With the globals of the factory's module, where doctest looks for examples.
    place = types.FunctionType(call.__code__, factory.__globals__, name, None, call.__closure__)
    make: Any = functools.wraps(factory)(place)
    FACTORIES[name] = make
    return make


def register_function(name: str, function: Callable[..., Any]) -> None:
    """Lets a plain function be an argument of a registered factory, saved by this name.

    Raises:
      ValueError: if another function has this name.
    """
    registered = FUNCTIONS.get(name)
    if registered is not None and registered.__module__ != function.__module__:
        raise ValueError(f"the name {name!r} is taken by a function of {registered.__module__}")
    FUNCTIONS[name] = function


def from_json(content: Any) -> Any:
    """The value that ``to_json`` described.

    Args:
      content: JSON; lists become tuples.

    Raises:
      ValueError: for an unknown name, or arguments that the factory does not take.

    >>> from jdd import data
    >>> from_json(data.uniform(8).to_json())
    uniform(8)
    """
    if isinstance(content, Mapping):
        if "choice" not in content:  # an argument can have the name "function" too
            if "function" in content:
                if content["function"] not in FUNCTIONS:
                    _register_all()
                return FUNCTIONS[one_of("function", content["function"], FUNCTIONS)]
            raise ValueError(f"a choice must have the entry 'choice', got {sorted(content)}")
        arguments = {name: from_json(value) for name, value in content.items() if name != "choice"}
        return _made(content["choice"], [], arguments)
    if isinstance(content, list | tuple):
        return tuple(from_json(item) for item in content)
    return content


def parse(text: str) -> Any:
    """The value of an expression in text form, such as ``uniform(n=64)``; a name alone is a call.

    Only registered names, numbers, texts, None, True, False and tuples are read; nothing is run.

    Raises:
      ValueError: one line that names what cannot be read.

    >>> from jdd import matching
    >>> parse("chain(siamese('crop'), gradients)") == matching.chain(
    ...     matching.siamese("crop"), matching.gradients()
    ... )
    True
    """
    try:
        return _evaluated(_syntax_tree(text), text)
    except (MemoryError, RecursionError):
        raise ValueError("cannot read an expression that is nested this deeply") from None


def _syntax_tree(text: str) -> ast.AST:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (AttributeError, SyntaxError, ValueError):  # no text, no expression, a null byte
        raise ValueError(
            f"cannot read {text!r}: write NAME or NAME(ARGUMENT, NAME=VALUE)"
        ) from None


def _made(name: Any, args: list[Any], kwargs: dict[str, Any]) -> Choice:
    if not isinstance(name, str) or name not in FACTORIES:
        _register_all()
    factory = FACTORIES[one_of("choice", name, _names_like(name))]
    signature = inspect.signature(factory)
    parameters = signature.parameters
    flexible = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in kwargs:
        if key not in parameters and not flexible:
            allowed = ", ".join(parameters) or "none"
            raise ValueError(
                f"{name} has no argument {key!r}{did_you_mean(key, parameters)} (allowed: {allowed})"
            )
    try:
        args, kwargs = _with_variadic(signature, args, kwargs)
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    try:
        return factory(*args, **kwargs)
    except (TypeError, AttributeError) as error:  # an argument of another type
        raise ValueError(f"{name}: {error}") from None


def _register_all() -> None:
    """Imports what registers the library's names, so that reading one needs no other import."""
    for module in _REGISTERING:
        importlib.import_module(module)


def _names_like(name: Any) -> list[str]:
    """Registered names of the kinds of the nearest ones; all where none is near."""
    near = difflib.get_close_matches(str(name), FACTORIES)
    kinds = {n: inspect.signature(make).return_annotation for n, make in FACTORIES.items()}
    return [n for n, kind in kinds.items() if not near or kind in {kinds[n] for n in near}]


def _with_variadic(
    signature: inspect.Signature, args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with those of ``*name`` in their place, where they came by that name."""
    names = [key for key, p in signature.parameters.items() if p.kind is p.VAR_POSITIONAL]
    if not names or names[0] not in kwargs:
        return args, kwargs
    kwargs = dict(kwargs)
    items = kwargs.pop(names[0])
    if not isinstance(items, tuple | list):
        raise TypeError(f"{names[0]} must be a list, got {items!r}")
    bound = signature.bind_partial(*args, **kwargs)
    bound.apply_defaults()
    before = list(signature.parameters)[: list(signature.parameters).index(names[0])]
    for key in before:
        if key not in bound.arguments:
            raise TypeError(f"missing a required argument: {key!r}")
        kwargs.pop(key, None)
    return [*(bound.arguments[key] for key in before), *bound.arguments[names[0]], *items], kwargs


def _evaluated(node: ast.AST, text: str) -> Any:
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_evaluated(item, text) for item in items)
        case ast.Attribute() | ast.Name():
            name = ast.unparse(node)
            if name not in FUNCTIONS and name not in FACTORIES:
                _register_all()
            return FUNCTIONS[name] if name in FUNCTIONS else _made(name, [], {})
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            names = [keyword.arg for keyword in keywords]
            if None in names or len(set(names)) < len(names):
                raise ValueError(
                    f"cannot read {ast.unparse(node)!r}: name each argument once, without **"
                )
            values = [_evaluated(arg, text) for arg in args]
            return _made(name, values, {str(k.arg): _evaluated(k.value, text) for k in keywords})
    raise ValueError(
        f"cannot read {ast.unparse(node)!r} in {text!r}: it must be a number, a text or NAME(...)"
    )


def _to_json(value: Any, where: str) -> Any:
    if isinstance(value, Choice):
        if value.expression is None:
            raise ValueError(
                f"{where}: this {type(value).__name__} has no name, so it cannot be saved: "
                "decorate the function that makes it with @jdd.register"
            )
        entries = {name: _to_json(v, f"{where}.{name}") for name, v in value.expression.arguments}
        return {"choice": value.expression.name, **entries}
    if isinstance(value, tuple):
        return [_to_json(item, where) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value):
        for name, function in FUNCTIONS.items():
            if function is value:
                return {"function": name}
        raise ValueError(f"{where}: the function {value!r} has no name: use jdd.register_function")
    raise ValueError(f"{where}: {value!r} cannot be saved")


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _text(value: Any, text_of: Callable[[Choice], str] = repr) -> str:
    if isinstance(value, tuple):
        items = ", ".join(_text(item, text_of) for item in value)
        return f"({items}{',' if len(value) == 1 else ''})"
    if isinstance(value, Choice):
        return text_of(value)
    if callable(value):
        return next(
            (name for name, function in FUNCTIONS.items() if function is value), repr(value)
        )
    return repr(value)
