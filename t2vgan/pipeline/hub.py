"""Download weights from the Hugging Face Hub and upload model folders."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t2vgan.checkpoint.weights import MODEL_NAME, find_weights
from t2vgan.errors import UserError
from t2vgan.utils.console import first_line

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MAX_DOWNLOAD_BYTES = 2**33


def find_pretrained(weights: Path | str) -> Path:
    """Find weights by file, folder, shipped name or Hub id (owner/name).

    Weights of the Hub are downloaded once. A name whose first part is a local folder is never
    looked up on the Hub.

    Raises:
        UserError: no weights are found, or the Hub cannot be reached.
    """
    name = str(weights)
    if Path(name).parent.exists() or not HUB_ID.fullmatch(name):  # shipped names have no /
        return find_weights(weights)
    return download_weights(name)


def download_weights(repo_id: str) -> Path:
    """Download weights from the Hub, or find them in its cache.

    Cached weights are used without a check for newer ones only if the Hub cannot be reached.
    """
    from huggingface_hub import (
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )

    with hub_errors(f"weights={repo_id}", "check the name and the network, or give a local file"):
        try:
            remote = get_hf_file_metadata(hf_hub_url(repo_id, MODEL_NAME))
        except Exception:
            if isinstance(cached := try_to_load_from_cache(repo_id, MODEL_NAME), str):
                return Path(cached)
            raise
        if (remote.size or 0) > MAX_DOWNLOAD_BYTES:
            raise UserError(
                f"weights={repo_id}: {MODEL_NAME} has {remote.size:,} bytes; at most "
                f"{MAX_DOWNLOAD_BYTES:,} are downloaded"
            )
        return Path(hf_hub_download(repo_id, MODEL_NAME))


def upload_model(folder: Path, repo_id: str, *, private: bool, token: str | None) -> str:
    """Upload a model folder to the Hub; return its URL."""
    from huggingface_hub import HfApi

    if not HUB_ID.fullmatch(repo_id):
        raise UserError(f"repo_id={repo_id!r}: must be owner/name, such as me/circles")
    with hub_errors(f"repo_id={repo_id}", "check the name, the network and `hf auth login`"):
        api = HfApi(token=token)
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload with t2vgan")
        return str(url)


@contextmanager
def hub_errors(what: str, remedy: str) -> Iterator[None]:
    """Turn the Hub's errors into a one-line UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the client, HTTP and the system raise many types
        raise UserError(
            f"{what}: the Hugging Face Hub cannot be used ({first_line(error)}); {remedy}"
        ) from error
