"""Numbers of threads that no machine has are refused wherever they are given."""

from __future__ import annotations

import pytest

from faceflow.errors import InputError
from faceflow.matching.transport import Sinkhorn
from faceflow.system.threads import MAX_THREADS, check_threads


def test_bounds() -> None:
    for fine in (None, 1, 8, MAX_THREADS):
        check_threads(fine)
    for wrong in (0, -1, MAX_THREADS + 1, 99_999_999, 2**70):
        with pytest.raises(InputError, match=f"threads is {wrong}"):
            check_threads(wrong)
        with pytest.raises(InputError, match=f"threads is {wrong}"):
            Sinkhorn(threads=wrong)
