import gc

from shared.process import garbage


def test_existing_objects_are_not_collected():
    before = gc.get_threshold()
    try:
        garbage.spare()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
