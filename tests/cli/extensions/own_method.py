"""A method from outside, as a user writes it: named in JDD_IMPORT."""

import jax.numpy as jnp

import jdd
from jdd import augment, evaluate, matching, methods


@jdd.register
def root_embeddings(weight: float = 1.0) -> matching.Stage:
    """Class-wise distance between mean embeddings."""
    root = matching.distance(lambda a, b: jnp.sqrt(1e-6 + jnp.square(a - b).sum()))
    stages = (matching.embeddings(), matching.batch_mean(), matching.scale(weight, root))
    return matching.per_class(matching.chain(matching.siamese(), *stages))


def own(ipc: int, *, data="", architecture="convnet", weight: float = 2.0, learning_rate=0.05):
    """Embeddings by their distance, Adam, networks that train on real images.

    Args:
      weight: of the distance.
    """
    return jdd.Recipe(
        name="own",
        ipc=ipc,
        objective=root_embeddings(weight),
        optimizer=methods.adam(learning_rate),
        protocol=evaluate.dsa_protocol("crop"),
        augment=augment.dsa_augmentation("crop"),
        motion=methods.on_real(12, batch_size=6),
        networks=2,
        updates=2,
    )


methods.PRESETS["own"] = methods.Preset(own, "A method of one's own")
