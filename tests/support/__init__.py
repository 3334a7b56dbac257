"""What the black-box tests share: driving a volume through its command line, and comparing trees."""

import pytest

# Without this an assert in these modules says only that it failed, not what it compared.
pytest.register_assert_rewrite(
    "support.faultfs", "support.machine", "support.parity", "support.tree", "support.volume"
)
