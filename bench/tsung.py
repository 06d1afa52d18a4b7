#!/usr/bin/env python3
"""Debian's tsung against Rookery, ejabberd and Prosody: the load tester that XMPP people have, with its own scenario.

    cargo build --release -p rookery-bench && cargo build --release -p rookery
    bench/tsung.py --bench target/release/rookery-bench --rookery target/release/rookery

Servers are set up as bench/peers.py does it. tsung runs bench/tsung/chat.xml once against each: users come one after the
other, log in over STARTTLS with SASL PLAIN, ask for the roster, write to others who are online, and leave. Names and
passwords come from a file, as users of Rookery are numbers. Prints what tsung has counted. Installs tsung if it is
missing (Debian, root). These are not numbers to compare servers by: tsung takes more of the machine than they do.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers

SCENARIO = Path(__file__).resolve().parent / "tsung" / "chat.xml"
# What tsung may take on top of the time in which users come: those who are there finish.
FINISH_SECS_MAX = 120
# tsung's own words for what did not work begin so.
ERRORS = ("error_", "failed")


def install():
    if Path("/usr/bin/tsung").exists():
        return
    if os.geteuid() != 0:
        raise SystemExit("tsung is missing: sudo apt-get install tsung")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update"], check=True, stdout=subprocess.DEVNULL, env=environment)
    subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "tsung"], check=True,
                   stdout=subprocess.DEVNULL, env=environment)


def scenario(server, options, directory):
    """Writes the users and the scenario that names them."""
    lines = (line.split() for line in server.users.read_text().splitlines())
    users = directory / "users.csv"
    users.write_text("".join(f"{jid.split('@')[0]},{password}\n" for jid, password in lines))
    text = SCENARIO.read_text()
    values = {"port": server.port, "secs": options.secs, "arrivals": options.arrivals, "users": users,
              "domain": peers.DOMAIN, "messages": options.messages, "pause": options.pause}
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = directory / "chat.xml"
    path.write_text(text)
    return path


def run(server, options, directory):
    """One run; gives the directory with tsung's log."""
    directory.mkdir(parents=True)
    path = scenario(server, options, directory)
    (directory / ".tsung").mkdir()
    command = ["tsung", "-f", str(path), "-l", str(directory / "log"), "-I", "127.0.0.1", "-F", "-n", "start"]
    with open(directory / "console.log", "wb") as console:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                       timeout=options.secs + FINISH_SECS_MAX, env=os.environ | {"HOME": str(directory)})
    logs = sorted((directory / "log").glob("**/tsung.log"))
    if not logs:
        raise SystemExit(f"tsung left no log:\n{(directory / 'console.log').read_text(errors='replace')[-3000:]}")
    return logs[-1]


def read_log(path):
    """The last numbers of each statistic, and the highest count that one interval of ten seconds had."""
    last, rates = {}, {}
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) < 3 or words[0] != "stats:":
            continue
        numbers = [float(word) for word in words[2:]]
        last[words[1]] = numbers
        rates[words[1]] = max(rates.get(words[1], 0.0), numbers[0])
    return last, rates


def summary(name, path, cpu_secs):
    """Prints what tsung has counted; true if something went wrong.

    Times have seven columns: count, mean and deviation of ten seconds, then maximum, minimum, mean and count of all.
    """
    last, rates = read_log(path)
    print(f"\n{name}")
    print(f"  {'':<18}{'count':>9}{'mean ms':>10}{'max ms':>10}{'most per s':>12}")
    for key in ("connect", "request", "page", "tr_login", "tr_roster", "session"):
        if key in last and len(last[key]) >= 7:
            _, _, _, highest, _, mean, count = last[key][:7]
            unit = 1000 if key == "session" and mean < 1000 else 1
            print(f"  {key:<18}{count:>9,.0f}{mean * unit:>10.2f}{highest * unit:>10.1f}{rates[key] / 10:>12.1f}")
    total = lambda key: last[key][1] if key in last else 0
    print(f"  users {total('users_count'):,.0f}, finished {total('finish_users_count'):,.0f}; "
          f"bytes out {total('size_sent'):,.0f}, in {total('size_rcv'):,.0f}; server's CPU {cpu_secs:.2f} s")
    wrong = {key: total(key) for key in last if key.startswith(ERRORS)}
    print(f"  errors: {', '.join(f'{key} {count:,.0f}' for key, count in wrong.items()) or 'none'}")
    return bool(wrong) or not total("finish_users_count")


def cpu_secs(pid):
    """CPU time of a process, its own and that of children it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", default="target/release/rookery-bench", help="makes Rookery's users")
    parser.add_argument("--rookery", help="the rookery binary; without it only the others run")
    parser.add_argument("--servers", default="rookery,ejabberd,prosody", help="which, with commas")
    parser.add_argument("--secs", type=int, default=30, help="for so long users come")
    parser.add_argument("--arrivals", type=int, default=20, help="users a second")
    parser.add_argument("--messages", type=int, default=20, help="of each user")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between them")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "rookery-tsung")
    options = parser.parse_args(arguments)
    options.bench = str(Path(options.bench).resolve())
    options.rookery = options.rookery and str(Path(options.rookery).resolve())
    # Each user comes once.
    options.users = options.secs * options.arrivals
    return options


def main():
    options = options_of(sys.argv[1:])
    kinds = {kind.name: kind for kind in (peers.Rookery, peers.Ejabberd, peers.Prosody)}
    servers = [name for name in options.servers.split(",") if name != "rookery" or options.rookery]
    for name in servers:
        if name not in kinds:
            raise SystemExit(f"there is no server {name}; there are {', '.join(kinds)}")
    install()
    peers.install(servers)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    out = options.out / time.strftime("%Y%m%d-%H%M%S")
    failed = False
    with tempfile.TemporaryDirectory(prefix="rookery-tsung-") as directory:
        for name in servers:
            server = kinds[name](directory, options, archive=False)
            try:
                server.start()
                before = cpu_secs(server.process.pid)
                log = run(server, options, out / name)
                failed |= summary(name, log, cpu_secs(server.process.pid) - before)
            finally:
                server.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
