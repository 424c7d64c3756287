"""Runs a command and measures it."""
import subprocess
import tempfile

# Seconds after which a command counts as hung.
LIMIT = 1800


class Failed(Exception):
    """A tool that did not do its work."""


def measure(words, cwd=None, env=None):
    """Seconds, CPU seconds and the peak memory in MiB of a command and its children.

    By time(1): the kernel would count this process, too, in the memory of its own children.
    """
    with tempfile.NamedTemporaryFile("r") as file:
        command = ["time", "-q", "-o", file.name, "-f", "%e %U %S %M", "timeout", str(LIMIT)] + [str(word) for word in words]
        done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise Failed(f"{words[0]}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()[-300:]}")
        seconds, user, system, memory = file.read().split()
    return {"seconds": float(seconds), "cpu": float(user) + float(system), "memory": int(memory) / 1024}


def shell(text, **options):
    """The same for a line of shell."""
    return measure(["sh", "-ec", text], **options)


def total(*parts):
    """Several commands, one after the other."""
    return {
        "seconds": sum(part["seconds"] for part in parts),
        "cpu": sum(part["cpu"] for part in parts),
        "memory": max(part["memory"] for part in parts),
    }
