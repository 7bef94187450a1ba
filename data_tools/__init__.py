"""Commands that make and check data sets; torch is never imported."""
