"""Serve a page on which visitors draw films from prompts."""
