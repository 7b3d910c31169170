"""Baselines of the command line: networks trained on real images, chosen in one way or another."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax

from jdd import data, evaluate, nn
from jdd.cli import scoring
from jdd.cli.errors import require
from jdd.validation import count

WORDS = ("random", *evaluate.SELECTIONS, "whole")
"""What can be said in place of a distilled set, and after --baseline."""

Training = Callable[[Callable[[int, int], None]], evaluate.Evaluation]


def coreset_epochs(given: int | None, choice: str) -> int:
    """The epochs of the network that chooses, refused where nothing is chosen.

    Raises:
      UsageError: if it is not possible.
    """
    option = "--coreset-epochs"
    require(
        given is None or choice in evaluate.SELECTIONS,
        option,
        f"goes with {' and '.join(evaluate.SELECTIONS)} only",
    )
    require(given is None or given >= 1, option, f"must be at least 1, got {given}")
    return evaluate.CORESET_EPOCHS if given is None else given


def title(word: str, ipc: int, sets: int) -> str:
    """What a report calls them.

    >>> title("herding", 10, 1), title("whole", 10, 1)
    ('real images by herding, 10 per class, 1 set', 'whole training set')
    """
    if word == "whole":
        return "whole training set"
    which = "random real images" if word == "random" else f"real images by {word}"
    return f"{which}, {ipc} per class, {count(sets, 'set')}"


def note(word: str, epochs: int) -> str:
    """What happens before the first network of an evaluation is trained; empty if nothing does."""
    if word not in evaluate.SELECTIONS:
        return ""
    return (
        f"{word}: each set is chosen by a network trained on all images ({count(epochs, 'epoch')})"
    )


def training(
    word: str,
    key: jax.Array,
    model: nn.Model,
    train: data.ClassTable,
    test: data.ClassTable,
    protocol: evaluate.EvaluationProtocol,
    *,
    ipc: int,
    sets: int,
    networks: int,
    epochs: int,
) -> Training:
    """What trains and tests the networks, given a callback (networks done, of how many)."""
    group = scoring.networks_per_dispatch()
    if word == "whole":
        return lambda done: evaluate.whole_set(
            *(key, model, train, test, protocol),
            num_networks=networks,
            networks_per_dispatch=group,
            report=done,
        )
    if word == "random":
        draw = functools.partial(evaluate.random_real, table=train, ipc=ipc)
    else:
        draw = functools.partial(
            evaluate.coreset_real,
            table=train,
            ipc=ipc,
            select=evaluate.SELECTIONS[word],
            model=model,
            epochs=epochs,
        )
    return lambda done: evaluate.real_sets(
        *(key, model, draw, test, protocol),
        sets=sets,
        num_networks=networks,
        networks_per_dispatch=group,
        report=done,
    )
