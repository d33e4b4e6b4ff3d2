#!/usr/bin/env bash
# Runs every test, then those of the packages in which goroutines share state once
# more under the race detector, shorter and not vetted twice, if there is a C compiler.
# Prints the totals.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
log=build/test.log
: > "$log"

run() {
  go test -v "$@" 2>&1 | tee -a "$log" | grep -E '^(ok|FAIL)[[:space:]]|^ *--- FAIL|^panic:|^# |DATA RACE' | grep -v 'no test files'
  return "${PIPESTATUS[0]}"
}
count() { grep -cE "^ *--- $1:" "$log" || true; }

status=0
run ./... || status=1
echo "without the race detector: $(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"

if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" > /dev/null; then
  echo
  echo "under the race detector:"
  run -race -short -vet=off ./internal/access/... ./internal/azfunc ./internal/azure/tables ./internal/identity \
    ./internal/local/host ./internal/local/servicebus/... ./internal/local/tables ./internal/web || status=1
else
  echo "no C compiler: not run under the race detector"
fi

if [ $status -ne 0 ]; then
  echo
  echo "What failed (everything is in $log):"
  grep -nE '^ *--- FAIL|^panic:|DATA RACE|^ +[a-z_]+_test\.go:[0-9]+:|^[^ ]+\.go:[0-9]+:[0-9]+:' "$log" | grep -v 'rapid\] OK' | head -n 80
fi
echo
echo "total: $(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
exit $status
