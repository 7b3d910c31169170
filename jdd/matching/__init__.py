"""Objectives as chains of transforms on (synthetic, real) pairs."""

from jdd.data.batch import Batch as Batch
from jdd.matching.base import Context as Context
from jdd.matching.base import Pair as Pair
from jdd.matching.base import Stage as Stage
from jdd.matching.base import stateless as stateless
from jdd.matching.base import value_of as value_of
from jdd.matching.combinators import add as add
from jdd.matching.combinators import chain as chain
from jdd.matching.combinators import over_networks as over_networks
from jdd.matching.combinators import scale as scale
from jdd.matching.combinators import switch as switch
from jdd.matching.distances import distance as distance
from jdd.matching.distances import flat_cosine as flat_cosine
from jdd.matching.distances import layerwise_cosine as layerwise_cosine
from jdd.matching.distances import squared_error as squared_error
from jdd.matching.embeddings import Embedded as Embedded
from jdd.matching.embeddings import batch_mean as batch_mean
from jdd.matching.embeddings import embeddings as embeddings
from jdd.matching.embeddings import joint_embeddings as joint_embeddings
from jdd.matching.gradients import gradients as gradients
from jdd.matching.per_class import collective as collective
from jdd.matching.per_class import per_class as per_class
from jdd.matching.siamese import siamese as siamese
