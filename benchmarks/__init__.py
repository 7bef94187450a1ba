"""Measure one claim per script; print a table; write results/."""
