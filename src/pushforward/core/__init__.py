"""The contract: bijections of one sample, distributions with one batching boundary, and flows."""
