"""Inputs that nobody would send, by the thousand: nothing fails, and nothing is decided by them."""
