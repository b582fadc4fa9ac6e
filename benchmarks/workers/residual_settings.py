"""What the residual blocks of all libraries have in common: their bound, their series, their power iteration."""

LIPSCHITZ = 0.97  # of a whole block; each of its layers has the root of it
N_TERMS = 10  # of the truncated series (family i_resnet)
N_EXACT, CONTINUATION = (
    2,
    0.5,
)  # of the roulette (family residual_flow): two terms, then each next one by tossing a coin
POWER_ROUNDS = 2  # of power iteration after a step


def share(depth: int) -> float:
    """The bound of each of depth + 1 layers."""
    return LIPSCHITZ ** (1 / (depth + 1))
