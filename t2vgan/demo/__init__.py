"""Serve a web page that generates videos from prompts."""
