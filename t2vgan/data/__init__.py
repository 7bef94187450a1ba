"""Datasets of clips: the sample format and the loader, without torch.

From a shard to a batch:
1. shards.py: a tar holds each clip as a film strip (film_strip.py), with its prompt and metadata.
2. dataset.py opens shards, from a folder or through remote.py and shard_cache.py.
3. shard_reader.py reads segments of shards (tar.py); damaged samples become BadSamples.
4. sampler.py determines the segments and their order; mixture.py mixes several datasets.
5. loader.py decodes the samples into batches ahead of the trainer.
"""
