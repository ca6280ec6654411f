"""Fixtures: one shared stack for tests that leave no trace, private ones for
tests that break something."""
import contextlib

import pytest

from harness import Stack, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory, certificate):
    stack = Stack(tmp_path_factory.mktemp("shared"), certificate=certificate).start()
    yield stack
    stack.stop()


@pytest.fixture
def gw(shared):
    """The shared stack, with faults and records of earlier tests gone."""
    shared.sim.reset()
    yield shared
    for name, child in shared.children.items():
        assert child.alive(), f"{name} died:\n{child.log()[-4000:]}"


@pytest.fixture
def make_stack(tmp_path, certificate):
    """make_stack(change=lambda config: ..., ...): a stack of one's own."""
    stacks = []

    def make(start=True, **options):
        folder = tmp_path / f"stack{len(stacks)}"
        folder.mkdir()
        stack = Stack(folder, certificate=certificate, **options)
        stacks.append(stack)
        return stack.start() if start else stack

    with contextlib.ExitStack() as ends:  # all of them, also when one complains
        yield make
        for stack in stacks:
            ends.callback(stack.stop)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the logs of the stacks of a test that failed."""
    report = (yield).get_result()
    if report.failed:
        stack = item.funcargs.get("gw") or item.funcargs.get("shared")
        if stack:
            report.sections.append(("stack logs", stack.logs()))
