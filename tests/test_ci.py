"""`.ci/run` changes nothing of a contributor's machine that it was not asked to change."""

import shutil
import subprocess
from pathlib import Path

from conftest import ROOT


def test_missing_system_packages_are_named_and_not_installed(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    for name in ("bash", "dirname", "mktemp", "rm"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "apt-get").write_text(f"#!{tmp_path}/bash\necho >{asked}\n")
    (tmp_path / "apt-get").chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / ".ci/run")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "missing: chromium " in done.stderr and ".ci/run --install" in done.stderr
    assert not asked.exists()
