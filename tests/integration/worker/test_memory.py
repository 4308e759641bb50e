"""A whole run's memory is constant: pg_dump, compression, encryption and reading back, whatever the size and level."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backup_operator.contract.report import decode
from tests.support.postgres_server import PostgresServer

LIMIT_KIB = 64 * 1024
ROW_BYTES = 1000
ROWS = {"small": 100_000, "large": 1_000_000}
"""100 MB and 1 GB of plain dump."""


@pytest.fixture(scope="module")
def server():
    with PostgresServer(15) as started:
        for table, rows in ROWS.items():
            words = "md5(n::text) || repeat(md5((n / 3)::text), 30)"
            started.execute(f"create unlogged table {table} as select n, {words} from generate_series(1, {rows}) n")
        yield started


@pytest.mark.parametrize(
    ("table", "compression"),
    [
        ("large", {"algorithm": "Gzip", "level": 2}),
        ("small", {"algorithm": "Gzip", "level": 9}),
        ("small", {"algorithm": "Zstd", "level": 19}),
    ],
    ids=["1 GB", "Gzip 9", "Zstd 19"],
)
def test_a_whole_run_stays_within_64_mib_above_the_interpreter(make_bench, tmp_path, server, table, compression):
    others = [other for other in ROWS if other != table]
    bench = make_bench(tmp_path, postgres={"url": server.url(), "tables": {"exclude": others}})
    changes = {"compression": compression, "retention": {"max_age": "P30D", "keep_monthly": 12}, "deadline": "PT24M"}
    (tmp_path / "order.json").write_text(json.dumps(bench.order | changes))
    program = Path(__file__).with_name("peak.py")
    command = [sys.executable, str(program), "run", "--order", str(tmp_path / "order.json")]
    command += ["--report", str(tmp_path / "report.json")]

    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1500)

    report = decode((tmp_path / "report.json").read_bytes())
    assert report.backup is not None
    assert report.backup.rows == ROWS[table]
    (dumped_bytes,) = re.findall(r"dump stored .* bytes=(\d+)", ran.stderr)
    assert int(dumped_bytes) > 0.99 * ROWS[table] * ROW_BYTES
    assert int(ran.stdout) < LIMIT_KIB
