"""TODO."""

from t2vgan.config import Config
from t2vgan.data.mixture import DatasetMixture, open_data
from t2vgan.distributed.consistency import check_agreement, describe_config, describe_software
from t2vgan.distributed.context import DistributedContext
from t2vgan.tracking import check_tracking


def check_start(processes: DistributedContext, config: Config) -> DatasetMixture:
    """Return the data if every rank has what it needs, and all the same (collective).

    Raises:
        UserError: on every rank alike.
    """

    def look_around() -> DatasetMixture:
        check_tracking(config)
        return open_data(config.data)

    data = processes.run_on_all(look_around)
    facts = describe_software() | describe_config(config)
    check_agreement(processes, facts | {"data": data.manifest.fingerprint[:12]})
    return data
