#!/usr/bin/python3
"""What the compiler does not check: who may include whom, what may not be written, how long a file may be.

    tests/tidy/tidy_test.py [folder]      exit 1 and one line per finding; `--self-test` proves that each rule can find something

The rules are those of the root CMakeLists.txt (a folder links only what stands above it) and of CONTRIBUTING.md.
"""
import os
import re
import sys
import unittest

# Folder -> what it may include besides itself. Services never include each other: they speak proto/.
ALLOWED = {
    'proto': [],
    'chat': [],
    'runtime': ['chat'],
    'eventlog': ['chat', 'runtime'],
    'store': ['chat', 'runtime'],
    'router': ['chat', 'runtime', 'eventlog', 'store', 'proto'],
    'persister': ['chat', 'runtime', 'eventlog', 'store', 'proto'],
    'gateway': ['chat', 'runtime', 'eventlog', 'store', 'proto'],
    'standalone': ['chat', 'runtime', 'eventlog', 'store', 'router', 'persister', 'gateway', 'proto'],
    'cli': ['chat', 'runtime', 'proto'],
    'bench': ['chat', 'runtime', 'eventlog', 'store', 'router', 'persister', 'gateway', 'proto'],
    'tests': ['chat', 'runtime', 'eventlog', 'store', 'router', 'persister', 'gateway', 'proto'],
}

# Tests that stand beside the code, and what they share.
TEST_SIDE = r'(_test\.cpp|_bench\.h|/contract_subjects\.\w+|/testing/.*)$'

# Third-party headers behind one door each: pattern of the include -> files that may have it.
DOORS = [
    (r'librdkafka/', r'^(eventlog/kafka|tests)/'),
    (r'(libpq-fe\.h|postgres_ext\.h|pqxx)', r'(^|/)postgres/|^tests/'),
    (r'boost/beast', r'^(gateway/server/(websocket|testing/)|gateway/http/|runtime/(admin|beast)|cli/|bench/|tests/)'),
    (r'(grpcpp/|grpc/|\.grpc\.pb\.h)', r'^(router/link_server|gateway/link/link_client|standalone/)'),
    (r'boost/asio\.hpp', r'^$'),
    (r'simdjson', r'^(gateway/json/|gateway/http/|cli/|bench/|tests/)'),
]

# Line patterns that may not be written, and why.
FORBIDDEN = [
    (r'\b(TODO|FIXME|XXX|HACK)\b', 'finish it or file it'),
    (r'\bplaceholder\b|\bfor now\b', 'say what it does, not what it does not do yet'),
    (r'catch \(\.\.\.\)', 'an unexpected exception ends the process'),
    (r'\|\| true\b', 'a failure that is swallowed is not known'),
    (r'(?<!_)\bsleep_for\b|\busleep\(|(?<![\w.])sleep\(\d', 'wait for the condition, not for the clock'),
    (r'\bco_spawn\([^;]*detached', 'every task belongs to a scope'),
    (r'\.detach\(\)', 'every thread is joined'),
    (r'\bclass \w*(Manager|Helper|Util|Utils)\b', 'name it after what it is'),
    (r'using namespace std;', 'qualify'),
    (r'#include <(format|print)>', 'not in this standard library: fmt'),
]
# Where one of them is meant: file pattern -> the forbidden text it may hold.
MEANT = [
    (r'^tests/tidy/', r'.'),
    (r'^tools/', r'\|\| true|sleep'),
    (r'^(cli|bench)/', r'sleep'),
    (r'^tests/services/', r'sleep'),  # polls for servers that have no other way to say that they are up
    (r'^eventlog/kafka/', r'sleep_for'),  # on the thread that exists to block
    (r'^gateway/link/link_client_test', r'sleep_for'),  # its server is a slow one
    (r'^router/members_test', r'sleep_for'),  # stands still on purpose
]
LINES = 650
# Files that may be longer, with a reason beside each.
LONG = []

SOURCE = ('.h', '.cpp', '.py', '.proto', '.txt', '.cmake', '.sh', '.ts')
CODE = ('.h', '.cpp')


def included(line):
    match = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
    return match and match.group(1)


def folder_of_include(path):
    if path.startswith('parley/'):
        return 'proto'
    return path.split('/')[0]


def findings(path, text):
    """Everything wrong with one file; `path` is relative to the root."""
    lines = text.splitlines()
    folder = path.split('/')[0]
    if path.endswith(CODE + ('.py', '.ts')) and len(lines) > LINES and path not in LONG:
        yield f'{path}: {len(lines)} lines: split it by job ({LINES} at most)'
    for number, line in enumerate(lines, 1):
        name = included(line) if path.endswith(CODE) else None
        if name:
            target = folder_of_include(name)
            if folder in ALLOWED and target in ALLOWED and target != folder and target not in ALLOWED[folder]:
                # A test may have protobuf as its oracle, and the real services of tests/services.
                if not (re.search(TEST_SIDE, path) and target in ('proto', 'tests')):
                    yield f'{path}:{number}: {folder}/ may not include {target}/'
            for pattern, may in DOORS:
                if re.match(pattern, name) or re.search(pattern, name) and '/' in pattern:
                    if not re.search(may, path):
                        yield f'{path}:{number}: {name} is behind a door: {may}'
        for pattern, why in FORBIDDEN:
            match = re.search(pattern, line)
            if match and not any(re.search(where, path) and re.search(what, match.group(0)) for where, what in MEANT):
                yield f'{path}:{number}: "{match.group(0)}": {why}'
        if path.endswith(CODE) and line != line.rstrip():
            yield f'{path}:{number}: blanks at the end'


def files(root):
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith('.') and f not in ('build', 'node_modules', '__pycache__'))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(directory, name), root)
            if name.endswith(SOURCE) or path.startswith('tools/'):
                yield path


def check(root):
    found = []
    for path in files(root):
        with open(os.path.join(root, path), encoding='utf-8', errors='replace') as file:
            found += findings(path, file.read())
    for folder in sorted(os.listdir(root)):
        if folder in ALLOWED and folder not in ('proto', 'tests') and not os.path.exists(os.path.join(root, folder, 'README.md')):
            found.append(f'{folder}/: no README.md')
    return found


class SelfTest(unittest.TestCase):
    """Each rule finds what it is for."""

    def finds(self, path, text):
        return bool(list(findings(path, text)))

    def test_clean(self):
        self.assertFalse(self.finds('router/core.cpp', '#include "chat/fold.h"\n#include "parley/link/v1/link.pb.h"\nint main() {}\n'))
        self.assertFalse(self.finds('eventlog/kafka/log.cpp', '#include <librdkafka/rdkafka.h>\n'))
        self.assertFalse(self.finds('store/postgres/reader.cpp', '#include <libpq-fe.h>\n'))

    def test_direction(self):
        self.assertTrue(self.finds('chat/fold.cpp', '#include "store/store.h"\n'))
        self.assertTrue(self.finds('chat/fold.cpp', '#include "parley/log/v1/record.pb.h"\n'))
        self.assertTrue(self.finds('gateway/core/core.cpp', '#include "router/ring.h"\n'))
        self.assertTrue(self.finds('router/core.cpp', '#include "gateway/core/core.h"\n'))
        self.assertTrue(self.finds('persister/worker.cpp', '#include "router/core.h"\n'))

    def test_doors(self):
        self.assertTrue(self.finds('gateway/core/core.cpp', '#include <librdkafka/rdkafka.h>\n'))
        self.assertTrue(self.finds('router/core.cpp', '#include <libpq-fe.h>\n'))
        self.assertTrue(self.finds('persister/worker.cpp', '#include <pqxx/pqxx>\n'))
        self.assertTrue(self.finds('router/core.cpp', '#include <boost/beast/websocket.hpp>\n'))
        self.assertTrue(self.finds('router/core.cpp', '#include <grpcpp/grpcpp.h>\n'))
        self.assertTrue(self.finds('gateway/server/websocket.cpp', '#include <boost/asio.hpp>\n'))

    def test_forbidden(self):
        for line in ('// TODO: later', '// good enough for now', 'catch (...) {', 'run || true', 'std::this_thread::sleep_for(1s);',
                     't.detach();', 'class ConnectionManager {', 'using namespace std;', '#include <format>', 'int x; '):
            self.assertTrue(self.finds('router/core.cpp', line + '\n'), line)

    def test_length(self):
        self.assertFalse(self.finds('router/core.cpp', 'x\n' * LINES))
        self.assertTrue(self.finds('router/core.cpp', 'x\n' * (LINES + 1)))


if __name__ == '__main__':
    if '--self-test' in sys.argv:
        unittest.main(argv=sys.argv[:1])
    found = check(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), '..', '..'))
    print('\n'.join(found) or 'tidy')
    sys.exit(bool(found))
