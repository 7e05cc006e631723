import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Threads only get in each other's way on matrices this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
