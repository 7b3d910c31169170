"""Protocols: what a distilled set is worth."""

from jdd.evaluate.accuracy import accuracy as accuracy
from jdd.evaluate.accuracy import class_accuracies as class_accuracies
from jdd.evaluate.baselines import WHOLE_SET as WHOLE_SET
from jdd.evaluate.baselines import flat_set as flat_set
from jdd.evaluate.baselines import random_real as random_real
from jdd.evaluate.baselines import random_real_sets as random_real_sets
from jdd.evaluate.baselines import real_sets as real_sets
from jdd.evaluate.baselines import whole_set as whole_set
from jdd.evaluate.contrastive import contrastive_signal as contrastive_signal
from jdd.evaluate.coresets import CORESET_EPOCHS as CORESET_EPOCHS
from jdd.evaluate.coresets import SELECTIONS as SELECTIONS
from jdd.evaluate.coresets import coreset_images as coreset_images
from jdd.evaluate.coresets import coreset_real as coreset_real
from jdd.evaluate.coresets import select_images as select_images
from jdd.evaluate.coresets import train_on_all as train_on_all
from jdd.evaluate.kernel import empirical_ntk as empirical_ntk
from jdd.evaluate.kernel import kernel_distance as kernel_distance
from jdd.evaluate.kernel import kernel_velocity as kernel_velocity
from jdd.evaluate.protocol import PROTOCOLS as PROTOCOLS
from jdd.evaluate.protocol import Evaluation as Evaluation
from jdd.evaluate.protocol import EvaluationProtocol as EvaluationProtocol
from jdd.evaluate.protocol import evaluate as evaluate
