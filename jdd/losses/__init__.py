"""Losses: pure functions of arrays and pytrees, without configuration, state or model."""

from jdd.losses.characteristic import characteristic_function as characteristic_function
from jdd.losses.contrastive import basis_contrastive as basis_contrastive
from jdd.losses.contrastive import paper_adversary as paper_adversary
from jdd.losses.contrastive import paper_view_similarity as paper_view_similarity
from jdd.losses.contrastive import released_adversary as released_adversary
from jdd.losses.contrastive import supervised_contrastive as supervised_contrastive
from jdd.losses.contrastive import view_similarity as view_similarity
from jdd.losses.distance import absolute_error as absolute_error
from jdd.losses.distance import flat_cosine as flat_cosine
from jdd.losses.distance import layerwise_cosine as layerwise_cosine
from jdd.losses.distance import mean_absolute_error as mean_absolute_error
from jdd.losses.distance import squared_error as squared_error
from jdd.losses.distance import trajectory_distance as trajectory_distance
from jdd.losses.embedding import mean_embedding as mean_embedding
from jdd.losses.feature import class_discrimination as class_discrimination
from jdd.losses.feature import discrimination as discrimination
from jdd.losses.feature import feature_alignment as feature_alignment
from jdd.losses.labels import cross_entropy as cross_entropy
