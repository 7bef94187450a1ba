"""Build shards: plan, run, resume and publish, here or behind a URL."""
