"""The experts that a run matches: where they are, or the command that makes them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jdd.cli.places import expanded
from jdd.configuration import Configuration
from jdd.data import per_channel, zca
from jdd.experts import ExpertPlan, Store, default_folder, estimated_seconds, open_store
from jdd.methods import TrajectoryRecipe
from jdd.methods.presets.constants import data_name
from jdd.methods.presets.trajectory_constants import is_whitened
from jdd.runs.experiment import loaded
from jdd.runs.progress import duration
from jdd.training import SGD, flat_trajectory

# As many as the papers have; on the digits what takes a minute.
_EXPERTS = {"digits": 10}
# MTT's experts; on the digits, where an epoch of those has six steps, faster ones.
_SGD = {"digits": SGD(0.05, batch_size=32)}
# Methods whose experts have flat trajectories.
_FLAT = ("ftd", "datm")


def store_for(
    configuration: Configuration, folder: Path | None, *, data_dir: Path | None
) -> Store | None:
    """The store of the experts that a configuration matches; None where it matches none.

    Args:
      configuration: the run.
      folder: of the store; None for that of the configuration, or where ``jdd experts`` stores such experts.
      data_dir: where the published sets are.

    Raises:
      ValueError: if there is none; the message has the command that makes it, and how long that will take.
    """
    recipe = configuration.recipe
    if not isinstance(recipe, TrajectoryRecipe):
        return None
    if folder is None and configuration.experts is not None:
        folder = Path(configuration.experts.folder)
    plan = ExpertPlan(
        recipe.last_epoch,
        configuration.data,
        configuration.network,
        _SGD.get(data_name(configuration.data.name), SGD(0.01, batch_size=256)),
        recipe.protocol.augment,  # as evaluation networks train, in all papers
        flatness=flat_trajectory() if recipe.name in _FLAT else None,
    )
    plans = [dataclasses.replace(plan, normalisation=each) for each in (per_channel(), zca())]
    if is_whitened(recipe.name, configuration.data.name, recipe.ipc):
        plans.reverse()
    plan = plans[0]
    paths = [default_folder(each) for each in plans] if folder is None else [expanded(folder)]
    for path in paths:
        if path.exists():
            return open_store(path)
    number = _EXPERTS.get(data_name(configuration.data.name), 100)
    command = plan.command(number, folder)
    seconds = estimated_seconds(plan, loaded(configuration.data, data_dir), number)
    raise ValueError(
        f"experts: {recipe.name} matches experts, and there are none in {paths[0]}: make them with `{command}` "
        f"(about {duration(seconds)} on this machine), or name the folder where they are"
    )
