"""What the trials show, computed from the ledger alone."""
