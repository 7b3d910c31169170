"""NCFM: characteristic functions of embeddings are matched under random networks."""

from __future__ import annotations

from jdd import synthetic
from jdd.augment import idc_augmentation
from jdd.data import uniform
from jdd.evaluate import idc_protocol
from jdd.methods.motion import never
from jdd.methods.norm_policy import batch_statistics
from jdd.methods.objectives import class_characteristic_functions
from jdd.methods.optimizers import adam
from jdd.methods.presets.constants import data_name, default_strategy, networks_for
from jdd.methods.recipe import Recipe


def ncfm(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    factor: int = 2,
    frequencies: int = 4096,
    alpha: float = 0.5,
) -> Recipe:
    """Neural Characteristic Function Matching: distributions of embeddings are matched, class by class.

    `dm`'s loop with another objective: every update has a fresh random network, which is never trained; first
    derivatives only. Where `dm` compares means, this compares amplitude and phase of characteristic
    functions. Stored images hold several tiles, as in `idc`.

    Args:
      ipc: stored images per class, each of which makes factor**2 training images.
      data: name of the data set, which some constants depend on.
      architecture: of the network that is matched on.
      factor: tiles along each side of a stored image.
      frequencies: where the functions are compared, drawn for every class and update.
      alpha: weight of amplitudes; that of phases is 1 - alpha.

    Raises:
      ValueError: if ipc, factor or frequencies is below 1, or alpha is not from 0 to 1.

    Reference: Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective",
    CVPR 2025, https://arxiv.org/abs/2502.20653. Deviations: its networks are random here, where the authors
    interpolate between the random and the trained weights of 20 networks; there is no cross entropy of a
    trained network, no network that learns frequencies (off in the authors' configurations) and no
    reduction of the learning rate; all classes move in one step of Adam, where the authors step after each
    of them with 0.001 (the rate here is that times the root of ten classes, rounded); evaluation by IDC's
    protocol, where the authors train for 2000 epochs by AdamW.

    >>> recipe = ncfm(10, data="cifar10")
    >>> recipe.objective, recipe.synthetic
    (class_characteristic_functions(), multi_formation())
    """
    del architecture  # the constants are the same for all
    return Recipe(
        name="ncfm",
        ipc=ipc,
        synthetic=synthetic.multi_formation(factor),
        initial=synthetic.from_real(),
        sampler=uniform(1024),
        augment=idc_augmentation(),
        objective=class_characteristic_functions(frequencies=frequencies, alpha=alpha),
        motion=never(),
        networks=networks_for(data, paper=20_000, digits=200),
        # Ours on the digits, whose networks are a hundredth of the paper's.
        optimizer=adam(0.01 if data_name(data) == "digits" else 0.003),
        norm_policy=batch_statistics(),
        protocol=idc_protocol(default_strategy(data).replace("_cutout", "")),
        pool="SS",
    )
