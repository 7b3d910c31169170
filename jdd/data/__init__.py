"""Real images on the device: the class table, and the batches drawn from it."""

from jdd.data.batch import Batch as Batch
from jdd.data.batch import Draw as Draw
from jdd.data.clustering import Clustering as Clustering
from jdd.data.clustering import k_means as k_means
from jdd.data.clustering import k_means_plus_plus as k_means_plus_plus
from jdd.data.clustering import original_k_means as original_k_means
from jdd.data.feature_space import FeatureSpace as FeatureSpace
from jdd.data.feature_space import network_features as network_features
from jdd.data.feature_space import pixel_features as pixel_features
from jdd.data.feature_space import random_network_features as random_network_features
from jdd.data.normalisation import denormalise as denormalise
from jdd.data.normalisation import normalise as normalise
from jdd.data.representative import boundary as boundary
from jdd.data.representative import central as central
from jdd.data.representative import representative as representative
from jdd.data.sampler import Data as Data
from jdd.data.sampler import Sampler as Sampler
from jdd.data.sampler import View as View
from jdd.data.sampler import uniform as uniform
from jdd.data.split import Split as Split
from jdd.data.table import ClassTable as ClassTable
from jdd.data.table import class_table as class_table
from jdd.data.table import draw_indices as draw_indices
from jdd.data.table import take as take
from jdd.data.trajectories import Trajectories as Trajectories
