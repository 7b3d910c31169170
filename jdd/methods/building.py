"""From a recipe of any family to a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jdd.methods.method import Method
from jdd.methods.network_loop import network_method
from jdd.methods.recipe import Recipe
from jdd.methods.recipe_record import entries_of
from jdd.methods.trajectory_loop import trajectory_method
from jdd.methods.trajectory_recipe import TrajectoryRecipe
from jdd.nn import Model
from jdd.validation import one_of

FAMILIES: dict[str, type[Recipe] | type[TrajectoryRecipe]] = {
    family.family: family for family in (Recipe, TrajectoryRecipe)
}
"""The kinds of recipes, by the name that their JSON states."""


def build(recipe: Recipe | TrajectoryRecipe, model: Model) -> Method:
    """A recipe on a network, as pure ``init`` and ``step``; see `network_method`, `trajectory_method`.

    Args:
      recipe: the choices.
      model: the architecture that is matched on.

    Returns:
      The method.

    Raises:
      ValueError: if the choices do not fit together or to the network, or the recipe is none.

    >>> import jdd
    >>> from jdd import nn
    >>> build(jdd.dm(ipc=2, data="digits"), nn.convnet(10, (8, 8, 1))).recipe.total_steps
    200
    """
    if isinstance(recipe, TrajectoryRecipe):
        return trajectory_method(recipe, model)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"build needs a Recipe or a TrajectoryRecipe, got {recipe!r}")
    return network_method(recipe, model)


def recipe_from_json(content: str | Mapping[str, Any]) -> Recipe | TrajectoryRecipe:
    """The recipe of whichever family that ``to_json`` or ``record`` wrote.

    Raises:
      ValueError: naming the entry that is missing, unknown or cannot be.

    >>> import jdd
    >>> recipe_from_json(jdd.mtt(ipc=1).to_json()) == jdd.mtt(ipc=1)
    True
    """
    family = entries_of(content).get("family", "networks")
    return FAMILIES[one_of("family of recipes", family, FAMILIES)].from_json(content)
