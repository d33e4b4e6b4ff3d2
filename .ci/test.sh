#!/usr/bin/env bash
# Runs every test and prints the totals. Packages in which goroutines share state
# run under the race detector where a C compiler is at hand; the others would only
# take longer. The first failure's output is shown, not a wall of passes.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
log=build/test.log
: > "$log"

shared='jitgate/(functions|handler|internal/(access|app|azfunc|azure|client|identity|web|local))($|/)'
if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" > /dev/null; then
  race=-race
else
  race=
  echo "no C compiler: running without the race detector"
fi

run() { # name, flags and packages
  [ $# -gt 0 ] || return 0
  go test -v "$@" 2>&1 | tee -a "$log" | grep -E '^(ok|FAIL|panic:|---? FAIL)|^# |DATA RACE|no test files.*FAIL' | grep -v 'no test files'
  return "${PIPESTATUS[0]}"
}

packages=$(go list ./...) || exit 1
status=0
# shellcheck disable=SC2046
run $race $(grep -E "$shared" <<< "$packages") || status=1
# shellcheck disable=SC2046
run $(grep -vE "$shared" <<< "$packages") || status=1

count() { grep -cE "^ *--- $1:" "$log" || true; }
if [ $status -ne 0 ]; then
  echo
  echo "What failed (everything is in $log):"
  grep -nE '^ *--- FAIL|panic:|DATA RACE|_test\.go:[0-9]+:|^# |cannot|undefined' "$log" | head -n 60
fi
echo
echo "tests: $(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
exit $status
