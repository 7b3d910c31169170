"""The experts that a run matches: where they are, or the command that makes them."""

from __future__ import annotations

from pathlib import Path

from jdd.cli.places import expanded
from jdd.configuration import Configuration
from jdd.experts import ExpertPlan, Store, default_folder, estimated_seconds, open_store
from jdd.methods import TrajectoryRecipe
from jdd.methods.presets.constants import data_name
from jdd.runs.experiment import loaded
from jdd.runs.progress import duration

# As many as the papers have; on the digits what takes a minute.
_EXPERTS = {"digits": 10}


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
    # Experts train as evaluation networks do, in all papers.
    augment = recipe.protocol.augment
    plan = ExpertPlan(recipe.last_epoch, configuration.data, configuration.network, augment=augment)
    path = default_folder(plan) if folder is None else expanded(folder)
    if path.exists():
        return open_store(path)
    number = _EXPERTS.get(data_name(configuration.data.name), 100)
    command = plan.command(number, folder)
    seconds = estimated_seconds(plan, loaded(configuration.data, data_dir), number)
    raise ValueError(
        f"experts: {recipe.name} matches experts, and there are none in {path}: make them with `{command}` "
        f"(about {duration(seconds)} on this machine), or name the folder where they are"
    )
