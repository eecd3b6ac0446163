"""The search space: from the entries of a file to the values of a trial."""
