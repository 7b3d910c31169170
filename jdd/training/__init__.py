"""Training networks inside jit: one SGD step, and the loops around it."""

from jdd.training.flatness import Flatness as Flatness
from jdd.training.flatness import flat_trajectory as flat_trajectory
from jdd.training.flatness import sharpness_aware as sharpness_aware
from jdd.training.sgd import SGD as SGD
from jdd.training.sgd import Place as Place
from jdd.training.sgd import TrainingState as TrainingState
from jdd.training.sgd import sgd_step as sgd_step
from jdd.training.sgd import train_epochs as train_epochs
from jdd.training.sgd import train_on_table as train_on_table
