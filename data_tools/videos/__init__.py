"""Source videos into clips: where they lie, how they are decoded, cut, judged and accounted for."""
