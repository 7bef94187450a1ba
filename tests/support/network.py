"""Several hosts on this machine: network namespaces with a name, an address and a cable each."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BRIDGE = "t2vgan0"
SUBNET = "10.93.47"  # node k has address .k, this machine .254
HERE = f"{SUBNET}.254"


def sh(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


def address(node: str) -> str:
    return f"{SUBNET}.{node.removeprefix('node')}"


def on(node: str, *command: object) -> tuple[object, ...]:
    """Return a command that runs on a node, with the node's network, host name and /etc/hosts.

    Not by `ip netns exec`: its fresh /sys lacks the control groups, which Slurm looks for.
    """
    enter = 'hostname "$0" && mount --bind "/run/t2vgan-hosts/$0" /etc/hosts && exec "$@"'
    network = ("nsenter", f"--net=/run/netns/{node}")
    return (*network, "unshare", "--uts", "--mount", "sh", "-c", enter, node, *command)


@contextmanager
def hosts(num_nodes: int) -> Iterator[list[str]]:
    """Connect node1, node2, ... by a switch; every node finds the others by name."""
    nodes = [f"node{number}" for number in range(1, num_nodes + 1)]
    names = "".join(f"{address(node)} {node}\n" for node in nodes)
    unplug(nodes)  # what tests that were killed left behind
    try:
        sh("ip", "link", "add", BRIDGE, "type", "bridge")
        sh("ip", "address", "add", f"{HERE}/24", "dev", BRIDGE)
        sh("ip", "link", "set", BRIDGE, "up")
        for node in nodes:
            plug_in(node, names)
        yield nodes
    finally:
        unplug(nodes)


def plug_in(node: str, names: str) -> None:
    hosts_file(node).parent.mkdir(parents=True, exist_ok=True)
    # Its own name on a loopback address, as Debian has it: gloo needs GLOO_SOCKET_IFNAME then.
    hosts_file(node).write_text(f"127.0.0.1 localhost\n127.0.1.1 {node}\n{names}")
    sh("ip", "netns", "add", node)
    sh("ip", "link", "add", f"{node}-cable", "type", "veth", "peer", "name", "eth0", "netns", node)
    sh("ip", "link", "set", f"{node}-cable", "master", BRIDGE, "up")
    sh(*on(node, "ip", "address", "add", f"{address(node)}/24", "dev", "eth0"))
    sh(*on(node, "ip", "link", "set", "eth0", "up"))
    sh(*on(node, "ip", "link", "set", "lo", "up"))


def unplug(nodes: list[str]) -> None:
    """Remove nodes, with every process that still runs on one, and the switch."""
    for node in nodes:
        if (Path("/run/netns") / node).exists():
            kill_all(node)
            sh("ip", "netns", "delete", node)
        subprocess.run(["ip", "link", "delete", f"{node}-cable"], capture_output=True)
        hosts_file(node).unlink(missing_ok=True)
    subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True)


@contextmanager
def bandwidth(nodes: list[str], rate: str) -> Iterator[None]:
    """Let every node send no faster than that: what it has to say waits in a queue."""
    shape = ("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", rate)
    for node in nodes:
        sh(*on(node, *shape, "burst", "16kb", "latency", "10s"))
    try:
        yield
    finally:
        for node in nodes:
            sh(*on(node, "tc", "qdisc", "delete", "dev", "eth0", "root"))


def kill_all(node: str) -> None:
    """Let a node's processes die at once, launchers and workers alike."""
    found = subprocess.run(["ip", "netns", "pids", node], capture_output=True, text=True)
    for pid in map(int, found.stdout.split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def hosts_file(node: str) -> Path:
    return Path("/run/t2vgan-hosts") / node
