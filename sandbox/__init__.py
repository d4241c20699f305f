"""A stand-in Linear and GitHub in a process of its own, for the demo, the tests and the benches."""
