"""Real servers, each of its own on loopback, and what stands between them and their clients."""
