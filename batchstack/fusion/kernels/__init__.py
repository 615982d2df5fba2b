"""Compiled inner loops of the fusion, row by row; the rules that they keep are in `compiled`."""
