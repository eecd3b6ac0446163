"""Sweeps over the hyper-parameters of `trainers`: search, ledger, execution and results."""
