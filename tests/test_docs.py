"""The code in docs/ runs as it stands."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


def test_quality_loss(tiny_quality: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("legan.models.quality.packaged", lambda name: tiny_quality)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "quality-loss.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tensor([") and 0 <= float(lines[-1]) <= 10
    generator = names["generator"]
    assert all(p.grad is not None and p.grad.any() for p in generator.parameters())  # type: ignore[attr-defined]
