"""Evaluation: what a distilled set is worth."""

from jdd.evaluate.accuracy import accuracy as accuracy
from jdd.evaluate.accuracy import accuracy_of_batches as accuracy_of_batches
from jdd.evaluate.accuracy import accuracy_under as accuracy_under
from jdd.evaluate.accuracy import class_accuracies as class_accuracies
from jdd.evaluate.contrastive import contrastive_signal as contrastive_signal
from jdd.evaluate.evaluation import Evaluation as Evaluation
from jdd.evaluate.evaluation import evaluate as evaluate
from jdd.evaluate.kernel import empirical_ntk as empirical_ntk
from jdd.evaluate.kernel import kernel_distance as kernel_distance
from jdd.evaluate.kernel import kernel_velocity as kernel_velocity
from jdd.evaluate.protocol import PROTOCOLS as PROTOCOLS
from jdd.evaluate.protocol import EvaluationProtocol as EvaluationProtocol
from jdd.evaluate.protocols_of_methods import cafe_protocol as cafe_protocol
from jdd.evaluate.protocols_of_methods import dc_protocol as dc_protocol
from jdd.evaluate.protocols_of_methods import dsa_protocol as dsa_protocol
from jdd.evaluate.protocols_of_methods import haba_protocol as haba_protocol
from jdd.evaluate.protocols_of_methods import idc_protocol as idc_protocol
