"""Datasets of clips: the sample format and the loader, without torch.

How a clip travels:
1. shards.py: it lies in a tar as a film strip (film_strip.py), with its prompt and metadata.
2. dataset.py opens shards, from a folder or through remote.py and shard_cache.py.
3. shard_reader.py reads segments of shards (tar.py); what is damaged becomes a BadSample.
4. sampler.py decides which segments, in which order; mixture.py mixes several datasets.
5. loader.py decodes the samples into batches ahead of the trainer.
"""
