#!/usr/bin/env python3
"""Compares `tallow bench` with llama.cpp and its forks in one run: every round measures each program in turn.

    peers.py --model build/bench/tinyllama-1.1b --llama-bench ik=/path/to/bin --xllamacpp venv/bin/python \
             --gguf bf16=tl-bf16.gguf --gguf q8=tl-q8_0.gguf --gguf q4=tl-q4_0.gguf

A peer is a folder with llama-bench (prefill, one stream) and, when it is there, llama-batched-bench (streams together);
or a Python that has the xllamacpp package (prefill, one stream). The GGUF files hold the same shapes as --model.
Shared machines change their speed by the second, so the ratio is the median over rounds of ours to the best peer's
within that round; speeds are medians with the smallest and largest. Reports, and never fails for being slow.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

CELLS = ("prefill 512", "decode, 1 stream", "decode, 8 streams", "decode, 16 streams")
STREAMS = (8, 16)
DECODE_TOKENS = 32

# Runs inside the other Python: one prompt and one answer; prints tokens per second of both.
XLLAMACPP = """
import json, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup = sys.argv[1], 1024, 1, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[2])
server = xllamacpp.Server(params)
prompt = [300 + i * 7919 % 31000 for i in range(512)]
request = {"prompt": prompt, "n_predict": int(sys.argv[3]), "ignore_eos": True, "cache_prompt": False, "temperature": 0}
answer = server.handle_completions(request)
answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
timings = answer["timings"]
print("RESULT", json.dumps([timings["prompt_per_second"], timings["predicted_per_second"]]))
"""


def run(command, both=False):
    # In a folder of its own: peers leave log files where they run.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout + (done.stderr if both else "")


def tallow(options, weights, gguf):
    model = ["--model", gguf] if options.same_file else ["--model", options.model, "--weights", weights]
    command = [options.tallow, "bench", *model, "--threads",
               str(options.threads), "--prefill", "512", "--depths", "0", "--streams",
               ",".join(map(str, STREAMS)), "--repeats", "1", "--json"]
    if options.isa:
        command += ["--isa", options.isa]
    report = json.loads(run(command))
    speeds, shares = {}, {}
    for row in report["models"][0]["results"]:
        plural = "s" if row["streams"] > 1 else ""
        cell = "prefill 512" if row["phase"] == "prefill" else f"decode, {row['streams']} stream{plural}"
        speeds[cell] = row["tokens_per_second"]
        shares[cell] = (row["of_ceiling"], row["bound"])
    return speeds, shares


def llama_bench(folder, gguf, threads):
    rows = json.loads(run([f"{folder}/llama-bench", "-m", gguf, "-p", "512", "-n", str(DECODE_TOKENS), "-t", str(threads),
                           "-r", "1", "-o", "json"]))
    speeds = {}
    for row in rows:
        speeds["prefill 512" if row["n_prompt"] else "decode, 1 stream"] = row["avg_ts"]
    try:
        table = run([f"{folder}/llama-batched-bench", "-m", gguf, "-c", "2048", "-npp", "8", "-ntg", "16", "-npl",
                     ",".join(map(str, STREAMS)), "-t", str(threads)], both=True)
    except FileNotFoundError:
        return speeds
    for line in table.splitlines():
        columns = [column.strip() for column in line.strip().strip("|").split("|")]
        if len(columns) >= 8 and columns[0].isdigit():
            speeds[f"decode, {columns[2]} streams"] = float(columns[7])
    return speeds


def xllamacpp(python, gguf, threads):
    for line in run([python, "-c", XLLAMACPP, gguf, str(threads), str(DECODE_TOKENS)]).splitlines():
        if line.startswith("RESULT "):
            prompt, predicted = json.loads(line[7:])
            return {"prefill 512": prompt, "decode, 1 stream": predicted}
    sys.exit("xllamacpp printed no result")


def named(text):
    name, sign, value = text.partition("=")
    if not sign or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=path")
    return name, os.path.abspath(value)


def measure(options, weights, gguf):
    """Speeds by program and cell, each a list over rounds; our shares of the ceiling by cell."""
    peers = [(name, llama_bench, folder) for name, folder in options.llama_bench]
    if options.xllamacpp:
        peers.append(("xllamacpp", xllamacpp, options.xllamacpp))
    rounds, shares = [], []
    for _ in range(options.rounds):
        speeds, share = tallow(options, weights, gguf)
        this = {"tallow": speeds}
        for name, function, where in peers:
            this[name] = function(where, gguf, options.threads)
        rounds.append(this)
        shares.append(share)
    return rounds, shares


def middle(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def report(weights, rounds, shares):
    names = list(rounds[0])
    print(f"\n{weights:20}" + "".join(f"{name:>24}" for name in names) + f"{'ratio to the best':>20}{'of ceiling':>18}")
    rows = []
    for cell in CELLS:
        speeds = {name: [r[name][cell] for r in rounds if cell in r[name]] for name in names}
        ratios = []
        for r in rounds:
            others = [r[name][cell] for name in names[1:] if cell in r[name]]
            if others and cell in r["tallow"]:
                ratios.append(r["tallow"][cell] / max(others))
        share = [s[cell][0] for s in shares if cell in s]
        line = f"{cell:20}" + "".join(f"{middle(v) if v else '':>24}" for v in speeds.values())
        line += f"{statistics.median(ratios):>20.2f}" if ratios else f"{'':>20}"
        line += f"{statistics.median(share):>10.2f} {shares[0][cell][1]}" if share else ""
        print(line, flush=True)
        rows.append({"weights": weights, "cell": cell, "tokens_per_second": speeds, "ratios": ratios, "of_ceiling": share})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tallow", default="build/tallow", type=os.path.abspath)
    parser.add_argument("--model", default="build/bench/tinyllama-1.1b", type=os.path.abspath)
    parser.add_argument("--same-file", action="store_true", help="Tallow reads the GGUF files, too")
    parser.add_argument("--gguf", type=named, action="append", required=True, metavar="WEIGHTS=FILE")
    parser.add_argument("--llama-bench", type=named, action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--xllamacpp", metavar="PYTHON", type=os.path.abspath)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--isa", help="forced on tallow; force the peers by how they are built")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows = []
    for weights, gguf in options.gguf:
        rows += report(weights, *measure(options, weights, gguf))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as out:
            json.dump(rows, out, indent=1)


if __name__ == "__main__":
    main()
