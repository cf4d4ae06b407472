"""draft"""

from examples_flights import *
