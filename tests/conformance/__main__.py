"""run --url URL [--url2 URL]: black-box conformance to the client protocol. Exit status 0: every case passed."""

import argparse
import asyncio
import sys
import time

from . import cases_connection, cases_frames, cases_groups, cases_reading, cases_rest, cases_sending  # noqa: F401 (each registers its cases)
from .suite import CASES, run_all


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--url", required=True, help="a gateway, e.g. http://127.0.0.1:8080")
    parser.add_argument("--url2", help="another gateway of the same cluster: what can span two, does")
    parser.add_argument("--only", help="cases whose rule or title contains this")
    parser.add_argument("--encodings", default="json,pb,rest")
    parser.add_argument("--parallel", type=int, default=16)
    parser.add_argument("--case-timeout", type=float, default=60.0)
    parser.add_argument("--jwt-secret", help="lets cases make tokens of their own (expired ones)")
    parser.add_argument("--quiet", action="store_true", help="print failures and the count only")
    options = parser.parse_args(arguments)
    options.urls = [options.url] + ([options.url2] if options.url2 else [])
    options.encodings = options.encodings.split(",")
    return options


def rule_order(outcome):
    digits = "".join(c for c in outcome.case.rule if c.isdigit())
    return (outcome.case.rule[0], int(digits or 0), outcome.case.title, outcome.encoding)


def main(arguments=None):
    options = parse(arguments)
    cases = [c for c in CASES if not options.only or options.only.lower() in c.title.lower() or options.only == c.rule]
    started = time.monotonic()

    def told(outcome):
        if sys.stderr.isatty():
            print(f"\r{outcome.case.rule} {outcome.case.title[:60]:60}", end="", file=sys.stderr)

    outcomes = sorted(asyncio.run(run_all(options, cases, told)), key=rule_order)
    for outcome in outcomes:
        if outcome.status != "pass" or not options.quiet:
            print(f"{outcome.status:5} {outcome.case.rule:5} {outcome.encoding:5} {outcome.seconds:5.1f}s  {outcome.case.title}")
        if outcome.detail:
            print("        " + outcome.detail.strip().replace("\n", "\n        "))
    count = {status: sum(1 for o in outcomes if o.status == status) for status in ("pass", "FAIL", "skip")}
    print(f"{count['pass']} passed, {count['FAIL']} failed, {count['skip']} skipped in {time.monotonic() - started:.1f} s")
    return 1 if count["FAIL"] or not count["pass"] else 0


if __name__ == "__main__":
    sys.exit(main())
