"""Memory and idle CPU of all our daemons on an idle node: ``python bench/memory.py [NODE]``.

PSS (proc_pid_smaps_rollup(5)) counts a page that several share once in all. The budgets are the baseline.
"""

from __future__ import annotations

import json
import sys

from figures import ratio, show

from kvorum.lab import Lab

BUDGETS_MIB = {"pve-cluster": 45, "pvedaemon": 70, "pveproxy": 55, "pve-ha-crm": 25, "pve-ha-lrm": 25}
TOGETHER_MIB = 220
IDLE_S = 30
IDLE_CPU_PERCENT = 1
"""Of one core."""
PROBE = """
import json, os, sys, time
from pathlib import Path
units, idle_s = json.loads(sys.argv[1]), float(sys.argv[2])

def processes(unit):
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if f"/{unit}.service" in path.read_text():
                found.append(path.parent)
        except OSError:
            pass
    return found

def cpu_s(process):
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

def pss_kib(process):
    for line in (process / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0

running = {unit: processes(unit) for unit in units}
before = {unit: sum(map(cpu_s, found)) for unit, found in running.items()}
began = time.monotonic()
time.sleep(idle_s)
passed = time.monotonic() - began
print(json.dumps({
    unit: {"pss_mib": sum(map(pss_kib, found)) / 1024,
           "cpu_percent": (sum(map(cpu_s, found)) - before[unit]) / passed * 100}
    for unit, found in running.items() if found
}))
"""


def main(node: str = "n1") -> None:
    """Look at the daemons that run, twice, half a minute apart."""
    probe = ["python3", "-c", PROBE, json.dumps(list(BUDGETS_MIB)), str(IDLE_S)]
    seen = json.loads(Lab().exec(node, probe, timeout_s=IDLE_S + 60, check=True).stdout)
    memory = {unit: round(figures["pss_mib"], 1) for unit, figures in seen.items()}
    together = round(sum(memory.values()), 1)
    show(
        "memory",
        unit="MiB PSS",
        ours={**memory, "together": together},
        baseline={**BUDGETS_MIB, "together": TOGETHER_MIB},
        ratio=ratio(together, TOGETHER_MIB),
        idle_cpu_percent={unit: round(figures["cpu_percent"], 2) for unit, figures in seen.items()},
        idle_cpu_goal_percent=IDLE_CPU_PERCENT,
        not_running=sorted(set(BUDGETS_MIB) - set(seen)),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
