"""Find wandb's credentials without importing wandb."""

import netrc
import os
from urllib.parse import urlparse


def has_wandb_key() -> bool:
    """Return whether wandb has credentials.

    wandb itself would wait for input at a terminal.
    """
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
