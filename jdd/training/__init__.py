"""Inner loops: training networks on small sets inside jit."""

from jdd.training.sgd import Augment as Augment
from jdd.training.sgd import SGDRecipe as SGDRecipe
from jdd.training.sgd import train_epochs as train_epochs
