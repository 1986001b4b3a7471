"""The claims ledger: what the sources say, each statement an experiment with a verdict."""
