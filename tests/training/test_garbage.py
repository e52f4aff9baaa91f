import gc
import weakref

import pytest

from brainnet.training.garbage import settled


@pytest.fixture(autouse=True)
def thawed():
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_was_there_is_let_alone_until_the_end():
    with settled():
        assert gc.get_freeze_count() > 10_000
        here = [[]]
        assert any(here is each for each in gc.get_objects())
    assert gc.get_freeze_count() == 0


def test_garbage_of_before_does_not_stay():
    class Held:
        pass

    held = Held()
    held.itself = held
    left = weakref.ref(held)
    del held
    with settled():
        assert left() is None


def test_it_ends_where_the_training_fails():
    with pytest.raises(ZeroDivisionError), settled():
        _ = 1 / 0
    assert gc.get_freeze_count() == 0


def test_what_somebody_else_has_frozen_stays_so():
    gc.freeze()
    frozen = gc.get_freeze_count()
    with settled():
        pass
    assert gc.get_freeze_count() == frozen
