"""What is learned, and how it becomes images."""

from jdd.synthetic.coreset import herding as herding
from jdd.synthetic.coreset import k_centre as k_centre
from jdd.synthetic.initial import noise as noise
from jdd.synthetic.initial import real as real
from jdd.synthetic.parametrisation import Parametrisation as Parametrisation
from jdd.synthetic.parametrisation import pixels as pixels
