"""Read the list of source videos and captions, in any layout."""
