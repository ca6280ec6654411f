"""Fixtures that start stacks.

    gw            the stack of the whole run, with the configuration of harness.base_config()
    shared_stack  one stack per module and configuration: for tests that leave nothing behind
                  but what Stack.clear() removes
    make_stack    a stack for one test: for tests that stop programs, compare counters or
                  change the configuration
"""
import contextlib

import pytest

from certificates import make_certificate
from harness import Simulators, Stack


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def simulators(tmp_path_factory):
    simulators = Simulators(tmp_path_factory.mktemp("simulators"))
    yield simulators
    simulators.stop()


@contextlib.contextmanager
def stack_pool(tmp_path_factory, **common):
    """get(change, kind, **options): the stack of these arguments, started at the first call."""
    stacks = {}
    with contextlib.ExitStack() as ends:
        def get(change=None, kind=Stack, before_agent=None, **options):
            key = (change, kind, before_agent, repr(options))
            if key not in stacks:
                stack = kind(tmp_path_factory.mktemp("stack"), change=change, **common, **options)
                ends.callback(stack.stop)
                stacks[key] = stack.start(before_agent=before_agent)
            return stacks[key]

        yield get


@pytest.fixture(scope="session")
def session_pool(tmp_path_factory, certificate, simulators):
    with stack_pool(tmp_path_factory, certificate=certificate, simulators=simulators) as get:
        yield get


@pytest.fixture(scope="module")
def module_pool(tmp_path_factory, certificate, simulators):
    with stack_pool(tmp_path_factory, certificate=certificate, simulators=simulators) as get:
        yield get


@pytest.fixture
def used_stacks():
    """The stacks of this test; those that are shared must outlive it."""
    stacks = []
    yield stacks


def lend(stack, used_stacks):
    stack.clear()
    used_stacks.append(stack)
    return stack


@pytest.fixture
def gw(session_pool, used_stacks):
    stack = lend(session_pool(), used_stacks)
    yield stack
    stack.check_alive()


@pytest.fixture
def shared_stack(module_pool, used_stacks):
    """shared_stack(change=..., ...): takes what make_stack takes. `change` must be a function of
    the module, not one that is made in the test: it is what the stack is found by."""
    lent = []

    def get(**options):
        lent.append(lend(module_pool(**options), used_stacks))
        return lent[-1]

    yield get
    for stack in lent:
        stack.check_alive()


@pytest.fixture
def make_stack(tmp_path, certificate, simulators, used_stacks):
    """make_stack(change=lambda config: ..., ...): a stack for this test only.

    start=False leaves starting it to the test; before_agent and ready are those of Stack.start(),
    other options those of Stack()."""
    with contextlib.ExitStack() as ends:  # stops all of them, even when one complains
        def make(start=True, before_agent=None, ready=True, **options):
            folder = tmp_path / f"stack{len(used_stacks)}"
            folder.mkdir()
            stack = Stack(folder, certificate=certificate, simulators=simulators, **options)
            used_stacks.append(stack)
            ends.callback(stack.stop)
            return stack.start(before_agent=before_agent, ready=ready) if start else stack

        yield make


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the logs of the stacks of a test that failed."""
    report = (yield).get_result()
    if report.failed:
        for stack in item.funcargs.get("used_stacks", ()):
            report.sections.append(("stack logs", stack.logs()))
