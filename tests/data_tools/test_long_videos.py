"""Cut long films in bounded memory, into all clips or none."""

from pathlib import Path

import numpy as np

from data_tools.build.protocol import Failure
from data_tools.videos import spool
from data_tools.videos.clips import RowTask
from data_tools.videos.input_list.rows import Row
from data_tools.videos.keys import parse_key
from data_tools.videos.plan import PackedShard
from data_tools.videos.sandbox import Sandbox
from data_tools.videos.settings import Access, ClipSettings, Limits, PackSettings
from data_tools.videos.spool import SampleSpool
from t2vgan.data.shards import EncodedSample, Geometry, encode_sample, read_samples
from tests.support.filming import Film, counting, write_film
from tests.support.source_videos import CLIPS

ALL_CLIPS = CLIPS | {"clips_per_video": 0, "fps": 10.0, "stride": 0.4}
FAST = Film("mpeg4", options={"qmin": "1", "qmax": "2", "g": "4"})


def test_clips_are_sent_as_they_are_cut(tmp_path):
    """Hold four clips at a time.

    All frames of these 87 clips are 430 MB, those of the four that overlap 20 MB."""
    write_film(tmp_path / "a.mp4", counting(2, 320, 320) * 180, FAST)
    geometry = Geometry(num_frames=16, height=320, width=320)
    clips = ClipSettings(**ALL_CLIPS | {"geometry": geometry})
    settings = PackSettings(clips, Access(str(tmp_path)), Limits(memory_mb=150))
    sandbox = Sandbox(settings)
    samples = sandbox.make_clips(RowTask(0, Row("a.mp4", "a film")), lambda: False)
    assert [sample.key[-3:] for sample in samples] == [f"{i:03d}" for i in range(87)]
    sandbox.close()


def test_a_film_that_breaks_late_gives_no_clips(tmp_path):
    """Give the film after it all the same."""
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    path = write_film(tmp_path / "a.mkv", noise, Film("ffv1", "bgra", options={}))
    data = bytearray(path.read_bytes())
    data[len(data) // 10 * 9 :] = bytes(len(data) - len(data) // 10 * 9)
    path.write_bytes(data)
    write_film(tmp_path / "b.mp4", counting(8), FAST)
    tasks = tuple(RowTask(i, Row(name, "a film")) for i, name in enumerate(("a.mkv", "b.mp4")))
    settings = PackSettings(ClipSettings(**ALL_CLIPS), Access(str(tmp_path)))
    (tmp_path / "out").mkdir()
    built = PackedShard(0, "0.tar", tasks, settings).run(tmp_path / "out", lambda: False)
    packed = read_samples(tmp_path / "out" / "0.tar")
    assert [parse_key(sample.key) for sample in packed] == [(1, 0), (1, 1)]
    (failure,) = built.failures
    assert isinstance(failure, Failure)
    assert (failure.row, failure.clip, failure.reason) == (0, None, "decode")


def test_many_clips_lie_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "MEMORY_BYTES", 1000)
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    samples = [encode_sample(f"{i}", frames, "a film of noise", {"fps": 5}) for i in range(3)]
    samples.append(EncodedSample("bare", {"txt": b"a film\nof noise"}))
    with SampleSpool(Path(tmp_path)) as kept:
        for sample in samples:
            kept.append(sample)
        assert list(kept) == samples
        assert list(kept) == samples, "as often as wanted"
    assert not list(tmp_path.iterdir())
