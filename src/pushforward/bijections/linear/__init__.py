"""Linear flows x = A z + b, by the parametrisation of A."""

from pushforward.bijections.linear.dense import Dense
from pushforward.bijections.linear.diagonal import Diagonal
from pushforward.bijections.linear.linear_prediction import LinearPrediction
from pushforward.bijections.linear.low_rank import LowRank
from pushforward.bijections.linear.matrix_exponential import MatrixExponential
from pushforward.bijections.linear.orthogonal import Cayley, Householder
from pushforward.bijections.linear.permutation import Permutation
from pushforward.bijections.linear.plu import PLU
from pushforward.bijections.linear.regression import LinearRegression
from pushforward.bijections.linear.triangular import Triangular
from pushforward.bijections.linear.whiten import Whiten

__all__ = [
    "PLU",
    "Cayley",
    "Dense",
    "Diagonal",
    "Householder",
    "LinearPrediction",
    "LinearRegression",
    "LowRank",
    "MatrixExponential",
    "Permutation",
    "Triangular",
    "Whiten",
]
