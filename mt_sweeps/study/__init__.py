"""The ledger: an Optuna study per arm, what is tried next, what ends early."""
