"""Says how many golden cases were read, and how near they came."""

from __future__ import annotations

import pytest
from golden import READ, ROOT


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if READ:
        terminalreporter.write_line(f"goldens: {len(READ)} cases read from {ROOT}; largest absolute error of each:")
        for name, error in sorted(READ.items()):
            terminalreporter.write_line(f"  {name:45s} {error:.1e}")
