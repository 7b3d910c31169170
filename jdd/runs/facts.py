"""What a run is, in words, for the head of its output."""

from __future__ import annotations

import jax

from jdd.artefact.description import budget
from jdd.runs.directory import RunDirectory
from jdd.runs.experiment import Experiment
from jdd.runs.machine import device


def facts(experiment: Experiment, directory: RunDirectory, step: int) -> dict[str, str]:
    """The data, the choices, the machine and the folder of a run that starts from a step."""
    dataset, recipe = experiment.dataset, experiment.configuration.recipe
    model, experts = experiment.method.model, experiment.configuration.experts
    shape = "x".join(map(str, dataset.image_shape))
    variables = jax.eval_shape(model.init, jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(variables))
    where = str(directory.path) + (f", from {recipe.unit} {step}" if step else "")
    if changed := directory.changed():
        where += f"; begun with {'; '.join(changed)}: bits may differ"
    machine = device()
    cores = f", {machine['cores']} cores" if "cores" in machine else ""
    choices = recipe.facts(f"{model.name}, {parameters} parameters")
    loops = choices.pop("loops")
    if experts is not None and experiment.experts is not None:
        shapes = experiment.experts.snapshots.shape
        choices["experts"] = f"{shapes[0]} from {experts.folder}, up to epoch {shapes[1] - 1}"
    key, method = jax.random.key(0), experiment.method
    params = jax.eval_shape(
        lambda data: method.learned(method.init(key, data)).params, experiment.data
    )
    numbers = int(recipe.synthetic.num_floats(params))
    choices["budget"] = budget(numbers, dataset.num_classes, dataset.image_shape)
    return {
        "data set": f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.train)} train and "
        f"{len(dataset.test)} test images of {shape}",
        **choices,
        "evaluation": f"{experiment.eval_model.name}; protocol {experiment.protocol.name}",
        "loops": loops,
        "device": f"{machine['count']} x {machine['kind']}{cores}; jax {jax.__version__}",
        "run": where,
    }
