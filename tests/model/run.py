"""Explores the Promela models: for each configuration of configurations.py spin makes the verifier, gcc builds it, it runs to
its end within a limit of memory and time, and one line says what came of it.

FINITE=1 asks something else: whether a run can go on for ever (a cycle; non-progress with no progress labels), which none may.

A configuration holds when the search was complete (no depth, memory or time limit cut it) and found no error. A mutant is a rule of
the protocol taken away: it holds when the search finds an error, or the model would prove nothing about that rule.

usage: run.sh [--small|--full] [--mutants|--no-mutants] [--jobs N] [--keep DIR] [MODEL...]
  --small       the configurations of the ctest run (default); --full: all, with all mutants
  --mutants     the mutants too; --no-mutants: not (default: with --full only)
  --keep DIR    leaves verifiers and trails there; else they go with a temporary directory
  MODEL         delivery, marks, ...: only these
"""
import argparse, concurrent.futures, os, pathlib, re, resource, shutil, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
from configurations import CONFIGURATIONS, MUTANTS  # noqa: E402

DEPTH_MAX = 200000
SMALL_MIB, FULL_MIB = 1000, 8000
SECONDS_MAX = {"small": 300, "full": 7200}


class Failed(Exception):
    pass


def build(model, defines, where, mebibytes, fast):
    flags = ["-D" + define for define in defines]
    made = subprocess.run(["spin", "-a", *flags, str(HERE / f"{model}.pml")], cwd=where, capture_output=True, text=True)
    if made.returncode != 0 or not (where / "pan.c").exists() or "Error" in made.stdout:
        raise Failed(f"spin: {made.stdout.strip()} {made.stderr.strip()}")
    # NOREDUCE: processes die through a rendezvous in an escape, where partial order reduction is not sound.
    # COLLAPSE (lossless) makes room; nothing here hashes states away.
    kind = "-DNP" if "FINITE=1" in defines else "-DSAFETY"
    options = ["-O1" if fast else "-O2", "-w", kind, "-DNOREDUCE", "-DVECTORSZ=512", f"-DMEMLIM={mebibytes}"]
    if not fast and mebibytes > SMALL_MIB:
        options.append("-DCOLLAPSE")
    subprocess.run(["gcc", *options, "-o", "pan", "pan.c"], cwd=where, check=True, capture_output=True)


def figure(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def explore(job):
    """Gives (line, held, states)."""
    model, name, defines, expect_error, options = job
    started = time.monotonic()
    where = pathlib.Path(tempfile.mkdtemp(prefix=f"{model}-", dir=options.where))
    mebibytes = SMALL_MIB if options.size == "small" and not expect_error else FULL_MIB
    try:
        build(model, defines, where, mebibytes, expect_error)
        begun = time.monotonic()
        ran = subprocess.run(["./pan", f"-m{DEPTH_MAX}", "-n", *(["-l"] if "FINITE=1" in defines else [])], cwd=where, capture_output=True, text=True,
                             timeout=SECONDS_MAX[options.size])
        seconds = time.monotonic() - begun
        out = ran.stdout
        errors = figure(r"errors: (\d+)", out)
        states = figure(r"(\d+) states, stored", out)
        why = re.search(r"pan:1: (.*?) \(at depth", out)
        cut = "Search not completed" in out or "max search depth too small" in out or "errors:" not in out
        if expect_error:
            held = errors > 0
            verdict = f"counterexample: {why.group(1)}" if held and why else "NO COUNTEREXAMPLE" if not cut else "NOT COMPLETE"
        else:
            held = errors == 0 and not cut
            verdict = "holds" if held else f"ERROR: {why.group(1) if why else '?'}" if errors else "NOT COMPLETE"
        figures = (states, figure(r"(\d+) transitions", out), figure(r"depth reached (\d+)", out), seconds)
    except subprocess.TimeoutExpired:
        held, verdict, figures = False, "NOT COMPLETE: out of time", (0, 0, 0, time.monotonic() - started)
    except (Failed, subprocess.CalledProcessError) as problem:
        held, verdict, figures = False, f"DOES NOT BUILD: {problem}", (0, 0, 0, 0.0)
    if not held and not expect_error and options.keep:
        print(f"spin -t -p {' '.join('-D' + d for d in defines)} -k {where}/{model}.pml.trail {HERE}/{model}.pml", file=sys.stderr)
    elif not options.keep:
        shutil.rmtree(where)
    line = f"{model:15} {name:44} {figures[0]:>10} {figures[1]:>11} {figures[2]:>6} {figures[3]:>8.1f}  {verdict}"
    return line, held, 0 if expect_error else figures[0]


def jobs_of(options):
    wanted = set(options.models)
    for model, name, small, defines in CONFIGURATIONS:
        if (options.size == "full" or small) and (not wanted or model in wanted):
            yield model, name, defines.split(), False, options
    if options.mutants:
        for model, rule, defines in MUTANTS:
            if not wanted or model in wanted:
                yield model, "without " + rule, defines.split() + [rule + "=0"], True, options


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", dest="size", action="store_const", const="small", default="small")
    parser.add_argument("--full", dest="size", action="store_const", const="full")
    parser.add_argument("--mutants", dest="mutants", action="store_true", default=None)
    parser.add_argument("--no-mutants", dest="mutants", action="store_false")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    options = parser.parse_args()
    if options.mutants is None:
        options.mutants = options.size == "full"
    for tool, package in (("spin", "spin"), ("gcc", "gcc")):
        if shutil.which(tool) is None:
            sys.exit(f"run.sh: {tool} is missing: apt-get install {package} (scripts/install.sh does)")
    known = {model for model, *_ in CONFIGURATIONS}
    for model in options.models:
        if model not in known:
            sys.exit(f"run.sh: no model '{model}': one of {', '.join(sorted(known))}")
    options.where = options.keep or tempfile.mkdtemp(prefix="ackbus-model-")
    os.makedirs(options.where, exist_ok=True)
    print(f"{'model':15} {'configuration':44} {'states':>10} {'transitions':>11} {'depth':>6} {'seconds':>8}  verdict", flush=True)
    held_all, states, count, mutants = True, 0, 0, 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for job, (line, held, stored) in zip_jobs(pool, list(jobs_of(options))):
            print(line, flush=True)
            held_all = held_all and held
            states += stored
            count += 0 if job[3] else 1
            mutants += 1 if job[3] and held else 0
    if not options.keep:
        shutil.rmtree(options.where)
    print(f"configurations {count}, states {states}, mutants with a counterexample {mutants}: {'all hold' if held_all else 'FAILED'}")
    return 0 if held_all and count + mutants > 0 else 1


def zip_jobs(pool, jobs):
    futures = {pool.submit(explore, job): job for job in jobs}
    for future in concurrent.futures.as_completed(futures):
        yield futures[future], future.result()


if __name__ == "__main__":
    sys.exit(main())
