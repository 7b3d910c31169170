"""Real images on the device: the class table, and the batches drawn from it."""

from jdd.data.batch import Batch as Batch
from jdd.data.batch import Draw as Draw
from jdd.data.normalisation import denormalise as denormalise
from jdd.data.normalisation import normalise as normalise
from jdd.data.sampler import Data as Data
from jdd.data.sampler import Sampler as Sampler
from jdd.data.sampler import View as View
from jdd.data.sampler import uniform as uniform
from jdd.data.split import Split as Split
from jdd.data.table import ClassTable as ClassTable
from jdd.data.table import class_table as class_table
from jdd.data.table import draw_indices as draw_indices
from jdd.data.table import take as take
