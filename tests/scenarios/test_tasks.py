"""The everyday tasks that ship: whole, answerable, and split in halves."""

from discretion.scenarios import load_suite


def test_every_task_has_both_kinds_and_its_values_to_be_seen():
    tasks = load_suite("tasks")
    assert len(tasks) >= 200
    assert len({task.instruction for task in tasks}) > 0.95 * len(tasks)
    for task in tasks:
        assert {item.appropriate for item in task.items} == {True, False}
        for item in task.items:
            (value,) = item.values
            assert value.casefold() in task.context.casefold()
            assert value.casefold() not in task.instruction.casefold()


def test_the_halves_are_the_whole():
    dev, test = load_suite("tasks:dev"), load_suite("tasks:test")
    assert {task.id for task in dev}.isdisjoint(task.id for task in test)
    assert len(dev) + len(test) == len(load_suite("tasks"))
    assert min(len(dev), len(test)) >= 80
    assert all(task.suite == "tasks" for task in test)
