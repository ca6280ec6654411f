"""Measures set-ups against each other and prints the table of `make bench`.

    measure.py FILE.json

FILE describes the run (written by bench.sh): vegeta and streams programs, and
for each set-up its targets file and the pids whose CPU time counts. Set-ups
take turns in every round, and each round begins with another one, so that a
machine that is slow for a while slows down all of them. The table has the
medians over the rounds.

CPU time is read from /proc/PID/task/*/schedstat before and after: nanoseconds
that the kernel counted, not samples.
"""

import glob
import json
import statistics
import subprocess
import sys

FAILED = []


def cpu_us(pid):
    """CPU time of all threads of a process so far, in microseconds."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as file:
            total += int(file.read().split()[0])
    return total / 1000


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0


def attack(run, setup, workers, seconds):
    """vegeta as fast as `workers` clients go; its report as a dictionary."""
    before = {name: cpu_us(pid) for name, pid in setup["pids"].items()}
    attack = subprocess.Popen(
        [run["vegeta"], "attack", "-targets", setup["targets"],
         "-rate=0", f"-workers={workers}", f"-max-workers={workers}",
         f"-connections={workers}", f"-duration={seconds}s"],
        stdout=subprocess.PIPE)
    report = subprocess.run([run["vegeta"], "report", "-type=json"],
                            stdin=attack.stdout, capture_output=True,
                            check=True)
    if attack.wait() != 0:
        sys.exit("vegeta attack failed")
    report = json.loads(report.stdout)
    if report["success"] < 1:
        FAILED.append(f"{setup['name']}: {report['status_codes']} "
                      f"{report['errors'][:3]}")
    report["cpu"] = {name: (cpu_us(pid) - before[name]) / report["requests"]
                     for name, pid in setup["pids"].items()}
    return report


def stream(run, setup):
    before = {name: cpu_us(pid) for name, pid in setup["pids"].items()}
    done = subprocess.run(
        [run["streams"], "client", setup["address"],
         setup["stream_request"], str(run["n_streams"]),
         str(run["n_events"])],
        capture_output=True, text=True)
    result = json.loads(done.stdout or '{"failed":1}')
    if done.returncode != 0 or result["failed"]:
        FAILED.append(f"{setup['name']}: streams: {done.stdout}{done.stderr}")
        return None
    result["cpu"] = {name: (cpu_us(pid) - before[name]) / result["events"]
                     for name, pid in setup["pids"].items()}
    return result


def measure(run):
    setups = run["setups"]
    load = {s["name"]: [] for s in setups}
    single = {s["name"]: [] for s in setups}
    streams = {s["name"]: [] for s in setups}
    for setup in setups:
        attack(run, setup, run["workers"], 1)  # fills caches, opens connections
    for turn in range(run["rounds"]):
        first = turn % len(setups)
        for setup in setups[first:] + setups[:first]:
            name = setup["name"]
            load[name].append(
                attack(run, setup, run["workers"], run["seconds"]))
            single[name].append(attack(run, setup, 1, run["seconds"] / 2))
            if "stream_request" in setup:
                result = stream(run, setup)
                if result:
                    streams[name].append(result)
        print(f"  round {turn + 1} of {run['rounds']}", file=sys.stderr)
    return load, single, streams


def median(rows, *path):
    def get(row):
        for key in path:
            row = row[key]
        return row
    return statistics.median(get(row) for row in rows) if rows else None


def cell(value, form):
    return "-" if value is None else format(value, form)


def cpu(rows, setup, program):
    """Median CPU time per request; None if the set-up has no such program."""
    if program not in setup["pids"]:
        return None
    return median(rows, "cpu", program)


def print_load(setups, load, single):
    plain = setups[0]["name"]
    base = {p: median(single[plain], "latencies", p) for p in ("50th", "99th")}
    print(f"{'':<12}{'req/s':>8}{'CPU us/req:':>14}{'':>18}"
          f"{'1 client, added us:':>22}")
    print(f"{'':<12}{'(max)':>8}{'HAProxy':>12}{'agent':>10}{'Redis':>10}"
          f"{'p50':>12}{'p99':>10}")
    for setup in setups:
        name, rows = setup["name"], load[setup["name"]]
        added = [(median(single[name], "latencies", p) - base[p]) / 1000
                 for p in base]
        print(f"{name:<12}{median(rows, 'throughput'):>8.0f}"
              f"{cell(cpu(rows, setup, 'haproxy'), '.1f'):>12}"
              f"{cell(cpu(rows, setup, 'agent'), '.1f'):>10}"
              f"{cell(cpu(rows, setup, 'redis'), '.1f'):>10}"
              f"{added[0]:>12.0f}{added[1]:>10.0f}")
    print(f"{plain}, one client: p50 {base['50th'] / 1000:.0f} us, "
          f"p99 {base['99th'] / 1000:.0f} us")


def print_ratios(setups, load):
    a, b, c = (s["name"] for s in setups)
    for over, under in ((b, a), (c, a), (c, b)):
        # Of the same round, where both met the same machine.
        rates = [x["throughput"] / y["throughput"]
                 for x, y in zip(load[over], load[under])]
        cpu = [x["cpu"]["haproxy"] / y["cpu"]["haproxy"]
               for x, y in zip(load[over], load[under])]
        print(f"{over + ' / ' + under:<34}"
              f"req/s x {statistics.median(rates):.2f}   "
              f"HAProxy CPU x {statistics.median(cpu):.2f}")


def print_streams(run, setups, streams):
    rows = [s for s in setups if streams[s["name"]]]
    if not rows:
        return
    print(f"\n{run['n_streams']} streams of {run['n_events']} events, one "
          f"every {run['interval_ms']} ms each")
    print(f"{'':<22}{'HAProxy':>10}{'delay p50':>11}{'p99':>8}"
          f"{'first event':>13}")
    print(f"{'':<22}{'us/event':>10}{'us':>11}{'us':>8}{'us':>13}")
    for setup in rows:
        got = streams[setup["name"]]
        print(f"{setup['name']:<22}{median(got, 'cpu', 'haproxy'):>10.1f}"
              f"{median(got, 'delay_p50_us'):>11.0f}"
              f"{median(got, 'delay_p99_us'):>8.0f}"
              f"{median(got, 'first_p50_us'):>13.0f}")


def main():
    with open(sys.argv[1]) as file:
        run = json.load(file)
    setups = run["setups"]
    load, single, streams = measure(run)
    print()
    print_load(setups, load, single)
    print()
    print_ratios(setups, load)
    print_streams(run, setups, streams)
    print()
    for name, pid in setups[-1]["pids"].items():
        print(f"RSS of {name:<8} {rss_mb(pid):.1f} MB")
    for line in FAILED:
        print(f"FAILED {line}")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
