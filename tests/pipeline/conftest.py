"""The generators that the pipeline draws with."""

import pytest

from tests.support.pipelines import MODELS, make_generator


@pytest.fixture(scope="module", params=list(MODELS))
def generator(request):
    return make_generator(request.param)
