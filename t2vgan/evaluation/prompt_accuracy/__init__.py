"""Track the objects of clips, classify them, and compare with the prompts."""
