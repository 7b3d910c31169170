"""How long a run is: the loops or the query rule of a method, from its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jdd import methods
from jdd.cli.commands import Cafe, Distill, FixedLoops
from jdd.cli.errors import blame, require
from jdd.cli.options import QueryOptions
from jdd.names import one_of

_LEAST = {"window": 2, "query": 1, "max_updates": 1, "max_epochs": 1}
# A query of 128 would be nearly all of a class of the digits: drawn again it answers the same, its accuracy does not
# range over anything, and every training goes on to its cap.
_QUERY = {"digits": 32}
_USUAL_QUERY = 128


def query_images(command: Cafe, dataset: str) -> int:
    """Real images per class in a query: as given, or the paper's; on digits fewer."""
    given = command.query.query
    return _QUERY.get(dataset, _USUAL_QUERY) if given is None else given


def networks(command: Distill, dataset: str) -> int:
    """How many networks are visited: as given, or the paper's; on digits fewer."""
    entry = methods.METHODS[command.method]
    usual = entry.digits_networks if dataset == "digits" else entry.networks
    return command.match.networks or usual


def loops(command: FixedLoops, dataset: str) -> methods.Loops:
    """The loop counts.

    Raises:
      UsageError: for epochs that would never be trained.
    """
    of_paper = methods.METHODS[command.method].loops
    assert of_paper is not None, "a method with fixed loops has the paper's"
    found = of_paper(command.ipc, networks=networks(command, dataset))
    updates, epochs = command.loop.updates, command.loop.net_epochs
    given = updates is not None or epochs is not None
    found = found._replace(
        updates=found.updates if updates is None else updates,
        net_epochs=found.net_epochs if epochs is None else epochs,
        interpolated=found.interpolated and not given,
    )
    contradiction = "has no effect with one update per network: give --updates above 1"
    require(not epochs or found.updates > 1, "--net-epochs", contradiction)
    return found


def maker(command: Distill, dataset: str) -> Callable[[int], methods.Loops | methods.QueryRule]:
    """What makes the schedule, given the number of classes.

    Raises:
      UsageError: for a value that is not possible.
    """
    if isinstance(command, Cafe):
        return _rule_maker(command, dataset)
    assert isinstance(command, FixedLoops), "a method has fixed loops or a query rule"
    found = loops(command, dataset)
    return lambda num_classes: found


def _rule_maker(command: Cafe, dataset: str) -> Callable[[int], methods.QueryRule]:
    """What makes the query rule, given the number of classes.

    Raises:
      UsageError: for a value that is not possible.
    """
    query = dataclasses.replace(command.query, query=query_images(command, dataset))
    rules: dict[str, Callable[..., methods.QueryRule]] = {
        "corrected": methods.query_rule,
        "original": lambda num_classes, **numbers: methods.original_query_rule(**numbers),
    }
    with blame("--rule"):
        make = rules[one_of("rule", query.rule, rules)]
    for name, threshold in (("outer", query.outer), ("inner", query.inner)):
        require(0 < threshold < 1, f"--{name}", f"must be between 0 and 1, got {threshold}")
    for name, least in _LEAST.items():
        value, option = getattr(query, name), f"--{name.replace('_', '-')}"
        require(value >= least, option, f"must be at least {least}, got {value}")
    ipc = command.ipc
    assert query.query is not None
    short = f"must be at least the {ipc} synthetic images per class, got {query.query}"
    require(query.query >= ipc, "--query", short)
    numbers = {k: v for k, v in dataclasses.asdict(query).items() if k != "rule"}
    return lambda num_classes: make(num_classes, networks=networks(command, dataset), **numbers)


def record(found: methods.Loops | methods.QueryRule, query: QueryOptions | None) -> dict[str, Any]:
    """What makes one schedule another (JSON)."""
    if isinstance(found, methods.Loops):
        return found._asdict()
    given = {} if query is None else dataclasses.asdict(query)
    return {**given, "query": found.query, "networks": found.networks}
