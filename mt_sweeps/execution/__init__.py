"""Ray: where and when trials run."""
