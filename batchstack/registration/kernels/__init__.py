"""Compiled inner loops of registration; the rules that they keep are in `compiled`."""
