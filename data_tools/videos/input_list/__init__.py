"""Read the list of source videos and captions, whatever form it has."""
