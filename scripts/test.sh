#!/usr/bin/env bash
# Runs every test of the release build, then the tests of all that reads other people's files again
# under ASan and UBSan. `make test` calls it after building; JOBS is how many to run at once.
#
#   scripts/test.sh [JOBS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs=${1:-$(nproc)}
reads_files='^(base|weights|text|spec|run|media|result_cache|fleet|supervisor|redis|views)(_|$)'
passed=0
failed=0

# ctest_in FOLDER REPORT ARGUMENTS...: runs the tests and adds them to the counts.
ctest_in() {
  local folder=$1 report=$PWD/$1/$2 tests=0 failures=0
  shift 2
  rm -f "$report"
  ctest --test-dir "$folder" --output-on-failure --no-tests=ignore -j "$jobs" \
    --output-junit "$report" "$@" || true
  if [[ ! -s $report ]]; then
    failed=$((failed + 1))  # ctest itself fell over
    return
  fi
  # Whatever did not pass has failed: a test that could not be started, too.
  tests=$(grep -c '<testcase ' "$report" || true)
  failures=$(grep -c '<testcase .*status="\(fail\|notrun\)"' "$report" || true)
  passed=$((passed + tests - failures))
  failed=$((failed + failures))
}

ctest_in build tests.xml
if ((passed + failed == 0)); then
  echo "test: error: the build has no tests" >&2
  exit 1
fi

echo "test: all but the engine under ASan and UBSan, in build-asan"
cmake --preset asan >/dev/null
cmake --build build-asan -j "$jobs"
ctest_in build-asan areas.xml -R "$reads_files"
ctest_in build-asan hostile.xml -L hostile -E "$reads_files"

echo "tests: $passed passed, $failed failed"
((failed == 0))
