"""The properties that every bijection and every flow must have, shown for each row of the zoo.

points       where a row is asked
program      the one compiled program of a row, and the figures it returns
case         a row with its figures at every kind of weights
bounds       how far figures may be off
inverses, reach, calls, densities
             the properties
properties   their list, and the check of one row against one of them
ledger       what was found, and what it took
"""

from battery.case import randomised
from battery.ledger import table
from battery.properties import PROPERTIES, check

__all__ = ["PROPERTIES", "check", "randomised", "table"]
