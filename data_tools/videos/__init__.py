"""Turn source videos into clips: find, decode, cut, filter, account."""
