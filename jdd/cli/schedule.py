"""How long a run is: the loops or the query rule of a method, from its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jdd import datasets, methods
from jdd.cli.commands import Cafe, Distill, FixedLoops
from jdd.cli.errors import blame, require
from jdd.cli.options import QueryOptions
from jdd.validation import one_of

_LEAST = {"window": 2, "query": 1, "max_updates": 1, "max_epochs": 1}
_USUAL_QUERY = 128


def query_images(command: Cafe, smallest: int) -> int:
    """Real images per class in a query: as given, or the paper's, but at most a quarter of a class.

    The same images drawn again answer the same: with a large part of its class in each, a query's
    accuracy ranges over nothing, and every training goes on to its cap.
    """
    usual = min(_USUAL_QUERY, max(smallest // 4, command.ipc))
    given = usual if command.query.query is None else command.query.query
    few = f"must be at least the {command.ipc} synthetic images per class, got {given}"
    require(given >= command.ipc, "--query", few)
    many = f"must be at most {smallest}, the images of the smallest class, got {given}"
    require(given <= smallest, "--query", many)
    return given


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


def maker(
    command: Distill, dataset: str
) -> Callable[[datasets.Dataset], methods.Loops | methods.QueryRule]:
    """What makes the schedule, given the data set; all that can be checked without it is checked.

    Raises:
      UsageError: for a value that is not possible.
    """
    if isinstance(command, Cafe):
        return _rule_maker(command, networks(command, dataset))
    assert isinstance(command, FixedLoops), "a method has fixed loops or a query rule"
    found = loops(command, dataset)
    return lambda loaded: found


def _rule_maker(command: Cafe, networks: int) -> Callable[[datasets.Dataset], methods.QueryRule]:
    """What makes the query rule, given the data set.

    Raises:
      UsageError: for a value that is not possible.
    """
    query = command.query
    rules = {"corrected": methods.query_rule, "original": methods.original_query_rule}
    with blame("--rule"):
        make = rules[one_of("rule", query.rule, rules)]
    for name, threshold in (("outer", query.outer), ("inner", query.inner)):
        require(0 < threshold < 1, f"--{name}", f"must be between 0 and 1, got {threshold}")
    for name, least in _LEAST.items():
        value, option = getattr(query, name), f"--{name.replace('_', '-')}"
        require(value is None or value >= least, option, f"must be at least {least}, got {value}")

    def made(loaded: datasets.Dataset) -> methods.QueryRule:
        numbers = {k: v for k, v in dataclasses.asdict(query).items() if k != "rule"}
        numbers["query"] = query_images(command, int(loaded.class_counts().min()))
        with blame("--outer", "--inner", "--window", "--networks", "--max-updates", "--max-epochs"):
            rule = make(networks=networks, **numbers)
            rule.check(loaded.num_classes)
        return rule

    return made


def record(found: methods.Loops | methods.QueryRule, query: QueryOptions | None) -> dict[str, Any]:
    """What makes one schedule another (JSON)."""
    if isinstance(found, methods.Loops):
        return found._asdict()
    given = {} if query is None else dataclasses.asdict(query)
    return {**given, "query": found.query, "networks": found.networks}
