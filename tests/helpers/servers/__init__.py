"""Real servers on loopback, one of each per test session, and the networks and proxies in front of them."""
