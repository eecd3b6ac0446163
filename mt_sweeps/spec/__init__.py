"""The search-space file: read, overridden, validated, explained."""
