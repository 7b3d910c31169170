"""Training networks inside jit: one SGD step, and the loops around it."""

from jdd.training.sgd import SGD as SGD
from jdd.training.sgd import Place as Place
from jdd.training.sgd import TrainingState as TrainingState
from jdd.training.sgd import sgd_step as sgd_step
from jdd.training.sgd import train_epochs as train_epochs
from jdd.training.sgd import train_on_table as train_on_table
