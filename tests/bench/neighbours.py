#!/usr/bin/env python3
"""Speed beside other programs on the same CPUs: prefill and decode with 0, 1 and 3 busy processes per core.

    neighbours.py --model build/bench/tinyllama-1.1b [--tallow old=/path/to/tallow] [--llama-bench ik=/path --gguf FILE]

Every round measures each program with each number of threads beside each number of neighbours, in turns; medians over
rounds. `fair` is what the scheduler owes: the speed alone, divided by one more than the neighbours of each core.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile

CELLS = ("prefill", "decode")


def named(text):
    name, sign, value = text.partition("=")
    if not sign or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=path")
    return name, os.path.abspath(value)


def spin(cpu):
    """A process that computes on one CPU until it is killed, or this one ends."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    os.sched_setaffinity(0, {cpu})
    while os.getppid() == parent:
        for _ in range(100000):
            pass
    os._exit(0)


class Neighbours:
    def __init__(self, per_core):
        self.per_core = per_core

    def __enter__(self):
        self.pids = [spin(cpu) for cpu in sorted(os.sched_getaffinity(0)) for _ in range(self.per_core)]

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def run(command):
    # In a folder of its own: peers leave log files where they run.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def tallow(binary, options, threads):
    model = ["--model", options.gguf] if options.gguf else ["--model", options.model, "--weights", options.weights]
    report = run([binary, "bench", *model, "--threads", str(threads), "--prefill", str(options.prompt), "--depths", "0",
                  "--streams", "1", "--repeats", "3", "--json"])
    rows = report["models"][0]["results"]
    return {row["phase"]: row["tokens_per_second"] for row in rows if row["threads"] == threads}


def llama_bench(folder, options, threads):
    rows = run([f"{folder}/llama-bench", "-m", options.gguf, "-p", str(options.prompt), "-n", "32", "-t", str(threads), "-r",
                "3", "-o", "json"])
    return {"prefill" if row["n_prompt"] else "decode": row["avg_ts"] for row in rows}


def report(samples, options):
    print(f"{'':12}{'threads':>8}{'neighbours':>11}" + "".join(f"{cell:>12}{'of fair':>9}" for cell in CELLS))
    for name, threads in dict.fromkeys((name, threads) for name, threads, _ in samples):
        for per_core in options.neighbours:
            line = f"{name:12}{threads:>8}{per_core:>11}"
            for cell in CELLS:
                speed = statistics.median(s[cell] for s in samples[name, threads, per_core])
                alone = samples.get((name, threads, 0))
                line += f"{speed:>12.1f}"
                line += f"{speed * (per_core + 1) / statistics.median(s[cell] for s in alone):>9.2f}" if alone else f"{'':>9}"
            print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tallow", type=named, action="append", metavar="NAME=PATH", help="default: tallow=build/tallow")
    parser.add_argument("--model", default="build/bench/tinyllama-1.1b", type=os.path.abspath)
    parser.add_argument("--weights", default="q8")
    parser.add_argument("--gguf", type=os.path.abspath, help="read by all programs, in place of --model")
    parser.add_argument("--llama-bench", type=named, action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 3])
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.llama_bench and not options.gguf:
        parser.error("--llama-bench needs --gguf")
    programs = [(name, tallow, path) for name, path in options.tallow or [("tallow", os.path.abspath("build/tallow"))]]
    programs += [(name, llama_bench, folder) for name, folder in options.llama_bench]
    samples = {}
    for _ in range(options.rounds):
        for per_core in options.neighbours:
            for threads in options.threads:
                for name, function, where in programs:
                    with Neighbours(per_core):
                        speeds = function(where, options, threads)
                    samples.setdefault((name, threads, per_core), []).append(speeds)
    report(samples, options)


if __name__ == "__main__":
    main()
