"""The harness reports an agent that ended badly. Without that, the runs under the sanitizers could
not fail."""
import signal

import pytest

from harness import Child

ASAN = "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1"
UBSAN = "spoa/x.c:1:2: runtime error: signed integer overflow"
LEAKS = "==7==ERROR: LeakSanitizer: detected memory leaks"


def ended(folder, script, signum=signal.SIGTERM):
    child = Child("agent", folder, ["sh", "-c", script + "\necho up\nwhile :; do sleep 0.01; done"])
    child.wait_log("up")
    child.stop(signum)
    return child.complaints()


@pytest.mark.parametrize("report", [ASAN, UBSAN, LEAKS])
def test_sanitizer_report_is_a_complaint(tmp_path, report):
    assert report in ended(tmp_path, f"trap 'exit 0' TERM\necho '{report}' >&2")


def test_exit_code_is_a_complaint(tmp_path):
    assert "ended with 1" in ended(tmp_path, "trap 'exit 1' TERM")


def test_abort_is_a_complaint(tmp_path):
    assert "ended with -6" in ended(tmp_path, "trap 'trap - ABRT; kill -ABRT $$' TERM")


def test_orderly_end_is_no_complaint(tmp_path):
    assert ended(tmp_path, "trap 'exit 0' TERM") is None


def test_death_by_a_test_is_no_complaint(tmp_path):
    assert ended(tmp_path, ":", signal.SIGKILL) is None
