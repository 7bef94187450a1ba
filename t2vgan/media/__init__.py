"""Read and write clips as files and pictures, without torch.

Frames are (T, H, W, 3) uint8 RGB.
"""

from t2vgan.media.clips import (
    FORMATS,
    encode_clip,
    format_rate_note,
    load_clip,
    save_clip,
    save_frame_folder,
    to_data_uri,
)
from t2vgan.media.names import slug
from t2vgan.media.pictures import load_film_strip, load_frame_folder, load_picture
from t2vgan.media.sheets import contact_sheet, film_strips, split_film_strips

__all__ = [
    "FORMATS",
    "contact_sheet",
    "encode_clip",
    "film_strips",
    "format_rate_note",
    "load_clip",
    "load_film_strip",
    "load_frame_folder",
    "load_picture",
    "save_clip",
    "save_frame_folder",
    "slug",
    "split_film_strips",
    "to_data_uri",
]
