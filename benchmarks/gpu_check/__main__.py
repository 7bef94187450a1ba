"""Check a GPU: `python -m benchmarks.gpu_check --part 1`, then `--part 2`."""

from benchmarks.gpu_check.wheels import install_missing

if __name__ == "__main__":
    install_missing()  # before importing packages that may be missing
    from benchmarks.gpu_check.check import run
    from benchmarks.measure import benchmark

    benchmark(run)
