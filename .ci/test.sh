#!/usr/bin/env bash
# Runs every test, then those of the packages in which goroutines share state once
# more under the race detector, if there is a C compiler: shorter, and without the long
# ones in which there is one goroutine only. Prints the totals. Vetting is left to
# `make lint`, which vets everything; here it would take a tenth of the time.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
log=build/test.log
: > "$log"

run() {
  go test -v -vet=off "$@" 2>&1 | tee -a "$log" | grep -E '^(ok|FAIL)[[:space:]]|^ *--- FAIL|^panic:|^# |DATA RACE' | grep -v 'no test files'
  return "${PIPESTATUS[0]}"
}
count() { grep -cE "^ *--- $1:" "$log" || true; }

status=0
run ./... || status=1
echo "without the race detector: $(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"

if command -v "$(go env CC)" > /dev/null; then
  echo
  echo "under the race detector:"
  CGO_ENABLED=1 run -race -short -skip 'AnyOrder|Killed|StandingRules|TheLedgerUp|LongNames|Conformance/.*/.*Large|BooksOverPages' \
    ./internal/access/... ./internal/azfunc ./internal/azure/tables ./internal/identity ./internal/local/host \
    ./internal/local/servicebus/... ./internal/local/tables ./internal/web || status=1
else
  echo "no C compiler: not run under the race detector"
fi

if [ $status -ne 0 ]; then
  echo
  echo "What failed (everything is in $log):"
  grep -E '^ *--- FAIL' "$log"
  # With -v a test's words come before its verdict, under the name of whoever speaks.
  awk '/^=== / { speaker = $3; next }
       /^ *--- FAIL:/ { print "\n" $0; printf "%s", said[$3] }
       /^ *--- / { next }
       /^panic:|DATA RACE|^# |^[^ ]+\.go:[0-9]+:[0-9]+:/ { print }
       { said[speaker] = said[speaker] $0 "\n" }' "$log" | head -n 300
fi
echo
echo "total: $(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
exit $status
