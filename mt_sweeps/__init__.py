"""The sweep service: search, ledger, engine and window around `trainers`."""
