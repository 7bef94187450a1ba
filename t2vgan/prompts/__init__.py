"""Interpret prompts: what words mean, and which known prompt is meant."""
