"""Tests that mostly wait, waiting together.

A module of them says `load_tests = together.load_tests`. Each test has a thread of its own and gets its own instance, as
always; `setUpClass` runs once, before all of its class.
"""

import threading
import unittest

_CALLS = ("startTest", "stopTest", "addSuccess", "addFailure", "addError", "addSkip", "addSubTest",
          "addExpectedFailure", "addUnexpectedSuccess", "addDuration")


class _Report:
    """What one test said, kept until nobody else is talking."""

    failfast = False

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        if name not in _CALLS:
            raise AttributeError(name)
        return lambda *args: self.calls.append((name, args))

    def tell(self, result):
        for name, args in self.calls:
            getattr(result, name)(*args)


class Together(unittest.TestSuite):
    def run(self, result, debug=False):
        tests = list(_flat(self))
        for cls in dict.fromkeys(type(test) for test in tests):
            cls.setUpClass()
        reports = [_Report() for _ in tests]
        threads = [threading.Thread(target=test.run, args=(report,)) for test, report in zip(tests, reports)]
        for thread in threads:
            thread.start()
        for thread, report in zip(threads, reports):
            thread.join()
            report.tell(result)
        for cls in dict.fromkeys(type(test) for test in tests):
            cls.tearDownClass()
        return result


def _flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def load_tests(_loader, tests, _pattern):
    return Together(tests)
