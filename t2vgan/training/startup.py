"""TODO."""

from t2vgan.config import Config
from t2vgan.data.mixture import Mixture, open_data
from t2vgan.distributed.consistency import check_agreement, describe_config, describe_software
from t2vgan.distributed.context import Processes
from t2vgan.tracking import check_tracking


def check_start(processes: Processes, config: Config) -> Mixture:
    """Return the data if every rank has what it needs, and all the same (collective).

    Raises:
        UserError: on every rank alike.
    """

    def look_around() -> Mixture:
        check_tracking(config)
        return open_data(config.data)

    data = processes.everywhere(look_around)
    facts = describe_software() | describe_config(config)
    check_agreement(processes, facts | {"data": data.manifest.fingerprint[:12]})
    return data
