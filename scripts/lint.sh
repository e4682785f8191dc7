#!/usr/bin/env bash
# Checks the form of every source with clang-format, and reads the changed ones with clang-tidy.
#
#   scripts/lint.sh [changed|all]   changed: since the last commit, or in it if nothing has changed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

git ls-files -co --exclude-standard '*.h' '*.cpp' | xargs clang-format --dry-run -Werror
echo "lint: every source is in clang-format's form"

case ${1:-changed} in
  all) mapfile -t sources < <(git ls-files '*.cpp') ;;
  changed)
    mapfile -t sources < <({
      git diff --name-only --diff-filter=d HEAD -- '*.cpp'
      git ls-files -o --exclude-standard '*.cpp'
    } | sort -u)
    if ((${#sources[@]} == 0)); then
      mapfile -t sources < <(git diff --name-only --diff-filter=d HEAD~1 HEAD -- '*.cpp')
    fi
    ;;
  *) echo "lint: error: '$1' is neither 'changed' nor 'all'" >&2; exit 2 ;;
esac

# Only what the build compiles: clang-tidy has no flags for the rest.
compiled=()
for source in "${sources[@]}"; do
  if grep -qF "\"$PWD/$source\"" build/compile_commands.json; then compiled+=("$source"); fi
done
if ((${#compiled[@]} == 0)); then
  echo "lint: no source to read with clang-tidy"
  exit
fi
# g++'s precompiled headers mean nothing to clang: it reads the same headers as text.
flags=build/lint
mkdir -p "$flags"
sed -E 's/ -fpch-preprocess| -Winvalid-pch//g' build/compile_commands.json >"$flags/compile_commands.json"
printf '%s\n' "${compiled[@]}" |
  xargs -P "$(nproc)" -n 1 clang-tidy -p "$flags" --quiet --extra-arg=-Wno-unknown-warning-option
echo "lint: clang-tidy read ${#compiled[@]} sources"
