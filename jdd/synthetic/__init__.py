"""What is learned, and how it becomes images."""

from jdd.synthetic.hallucination import hallucinate as hallucinate
from jdd.synthetic.hallucination import hallucinated as hallucinated
from jdd.synthetic.hallucination import random_hallucinator as random_hallucinator
from jdd.synthetic.initial import Initial as Initial
from jdd.synthetic.initial import first_of_class as first_of_class
from jdd.synthetic.initial import from_noise as from_noise
from jdd.synthetic.initial import from_real as from_real
from jdd.synthetic.initial import noise as noise
from jdd.synthetic.initial import real as real
from jdd.synthetic.multi_formation import multi_formation as multi_formation
from jdd.synthetic.parametrisation import Parametrisation as Parametrisation
from jdd.synthetic.parametrisation import Statistics as Statistics
from jdd.synthetic.parametrisation import all_variants as all_variants
from jdd.synthetic.parametrisation import class_labels as class_labels
from jdd.synthetic.parametrisation import equivalent_ipc as equivalent_ipc
from jdd.synthetic.parametrisation import flat as flat
from jdd.synthetic.parametrisation import from_space as from_space
from jdd.synthetic.parametrisation import into_space as into_space
from jdd.synthetic.parametrisation import one_variant as one_variant
from jdd.synthetic.parametrisation import pixels as pixels
from jdd.synthetic.parametrisation import seen_variant as seen_variant
