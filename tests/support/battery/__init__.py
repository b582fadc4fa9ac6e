"""The properties that every bijection and every flow must have, tested for each row of the zoo.

points       test points
program      the compiled program of a row, and the figures it returns
case         a row with its figures at every kind of weights
bounds       error bounds
inverses, reach, calls, densities, declared, derivatives
             the properties
properties   their list, and the check of one row against one of them
ledger       results and times
"""

from battery.case import randomised
from battery.ledger import table
from battery.properties import PROPERTIES, check

__all__ = ["PROPERTIES", "check", "randomised", "table"]
