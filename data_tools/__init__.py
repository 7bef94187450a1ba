"""Commands that make and check data: `python -m data_tools.<name>`. Torch is never imported."""
