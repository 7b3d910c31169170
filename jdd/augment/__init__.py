"""Pure image transforms: (key, images) -> images, and the deterministic ops below them."""

from jdd.augment import ops as ops
from jdd.augment.dsa import STRATEGY as STRATEGY
from jdd.augment.dsa import STRATEGY_NO_FLIP as STRATEGY_NO_FLIP
from jdd.augment.dsa import DSARatios as DSARatios
from jdd.augment.dsa import dsa as dsa
from jdd.augment.dsa import dsa_all as dsa_all
