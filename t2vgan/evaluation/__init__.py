"""Does the video do what the prompt says? A motion meter, its calibration and its controls."""
