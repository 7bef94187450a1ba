"""Track and classify the objects of clips, and compare them with prompts."""
