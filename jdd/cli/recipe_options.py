"""Options that replace choices and numbers of a recipe, by family of recipes. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from jdd.cli.options import NUMBER, PATH, TEXT, WHOLE, choice, option


@dataclasses.dataclass(frozen=True)
class RecipeOptions:
    """Choices that replace the method's, each written as a call: NAME or "NAME(ARGUMENT, NAME=VALUE)".
    `jdd methods` lists the names."""

    synthetic: Annotated[
        str | None, TEXT, choice("What is learned, and how it becomes images.")
    ] = None
    initial: Annotated[
        str | None,
        TEXT,
        choice(
            "Where it starts: from_real, from_noise, from_herding, from_k_centre, from_set('FILE')."
        ),
    ] = None
    sampler: Annotated[str | None, TEXT, choice("Which real images are matched: uniform(256).")] = (
        None
    )
    augment: Annotated[
        str | None,
        TEXT,
        choice("What both sides go through: no_augmentation, dsa_augmentation('color_crop')."),
    ] = None
    objective: Annotated[
        str | None, TEXT, choice("What must agree: class_gradients, class_embeddings.")
    ] = None
    motion: Annotated[
        str | None,
        TEXT,
        choice("How the network moves between updates: never, on_synthetic(10), on_real(1000)."),
    ] = None
    optimizer: Annotated[
        str | None, TEXT, choice("Moves the synthetic set: sgd(0.1, momentum=0.5), adam(0.01).")
    ] = None
    norm_policy: Annotated[
        str | None,
        TEXT,
        choice("BatchNorm while matching: frozen_statistics(16), batch_statistics."),
    ] = None
    decay: Annotated[str | None, TEXT, choice("Of the optimiser's steps: halved_after.")] = None
    networks: Annotated[
        int | None, WHOLE, option("K", "Fresh random networks.", "the method's; on digits fewer")
    ] = None
    updates: Annotated[
        int | None,
        WHOLE,
        option("T", "Updates of the synthetic set on each network.", "the method's for this IPC"),
    ] = None
    networks_per_update: Annotated[
        int | None, WHOLE, option("K", "Networks that a loss is averaged over.", "1")
    ] = None
    over_classes: Annotated[
        str | None,
        TEXT,
        option("HOW", "Classes one by one (map), at once (vmap), or k at a time (k).", "map"),
    ] = None
    learning_rate: Annotated[
        float | None, NUMBER, option("RATE", "Of the optimiser.", "the method's")
    ] = None
    momentum: Annotated[
        float | None, NUMBER, option("SHARE", "Of the optimiser.", "the method's")
    ] = None
    real_batch: Annotated[
        int | None, WHOLE, option("N", "Real images per class and update, of the sampler.", "256")
    ] = None
    net_epochs: Annotated[
        int | None,
        WHOLE,
        option("EPOCHS", "Of the network between updates, of the motion.", "the method's"),
    ] = None


@dataclasses.dataclass(frozen=True)
class TrajectoryOptions:
    """Choices that replace the method's, each written as a call: NAME or "NAME(ARGUMENT, NAME=VALUE)".
    `jdd methods` lists the names."""

    synthetic: Annotated[
        str | None, TEXT, choice("What is learned, and how it becomes images.")
    ] = None
    initial: Annotated[
        str | None, TEXT, choice("Where it starts: from_real, from_noise, from_correct.")
    ] = None
    labels: Annotated[
        str | None, TEXT, choice("Of the set: hard_labels, learned_labels, target_labels.")
    ] = None
    augment: Annotated[
        str | None,
        TEXT,
        choice("Of the student's minibatches: no_augmentation, dsa_augmentation('color_crop')."),
    ] = None
    objective: Annotated[
        str | None,
        TEXT,
        choice("What must agree: 'chain(unroll(50, gradient=remat(10)), trajectory_distance)'."),
    ] = None
    step_size: Annotated[
        str | None,
        TEXT,
        choice("Of the student, learned: log_step_size(0.01), raw_step_size(0.01, least=0.001)."),
    ] = None
    start_epochs: Annotated[
        str | None,
        TEXT,
        choice("Where students start on a trajectory: uniform_epochs(20), widening_epochs."),
    ] = None
    optimizer: Annotated[
        str | None,
        TEXT,
        choice("Moves the set: 'by_group(images=sgd(100.0, 0.5), step_size=sgd(0.001, 0.5))'."),
    ] = None
    expert_epochs: Annotated[
        int | None,
        WHOLE,
        option("M", "Epochs of an expert that a student matches.", "the method's"),
    ] = None
    iterations: Annotated[
        int | None, WHOLE, option("N", "Updates of the set.", "the method's; on digits fewer")
    ] = None
    skip_above: Annotated[
        float | None,
        NUMBER,
        option("LOSS", "An iteration with a larger loss updates nothing.", "the method's"),
    ] = None
    average: Annotated[
        float | None,
        NUMBER,
        option("DECAY", "Of a moving average of the images, which is the set.", "the method's"),
    ] = None
    experts: Annotated[
        Path | None,
        PATH,
        option("FOLDER", "The experts, as `jdd experts` stores them.", "where it stores them"),
    ] = None
