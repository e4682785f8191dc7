# The front door; the build itself is CMake's (CMakePresets.json).
SHELL := /bin/bash
.DEFAULT_GOAL := menu
.PHONY: menu setup build demo test tsan bench format lint coverage dist clean

ready := .deps/torch-folder
torch = $(shell cat $(ready))
# As many jobs as there are cores, but 2 GB of memory for each.
jobs := $(shell awk -v cores="$$(nproc)" '/^MemAvailable/ {n = int($$2 / 2e6)} \
	END {if (n > cores) n = cores; print (n < 1 ? 1 : n)}' /proc/meminfo)

menu:
	@echo 'make setup      Debian packages, LibTorch and models/smollm2, whatever is missing'
	@echo 'make build      build/backlot and its engine (does setup first)'
	@echo 'make demo       pictures and clips from jobspecs/demo*.yaml, in out/demo and out/demo-clips'
	@echo 'make test       all tests; the parts that read strange files again under sanitizers'
	@echo 'make tsan       what has threads or many processes, under ThreadSanitizer'
	@echo 'make bench      backlot beside diffusers and other peers (options: BENCH="--help")'
	@echo 'make format     clang-format on every source'
	@echo 'make lint       clang-format as a check, clang-tidy on what changed (LINT=all: on everything)'
	@echo 'make coverage   line coverage of the tests, at least 85 %'
	@echo 'make dist       dist/backlot-VERSION-linux-x86_64.tar.gz'
	@echo 'make clean      removes what was built; keeps .deps and out'

setup:
	@scripts/setup.sh

$(ready): scripts/setup.sh
	@scripts/setup.sh

build/build.ninja: $(ready) CMakePresets.json
	cmake --preset release -DBACKLOT_TORCH='$(torch)'
	@touch $@

build: build/build.ninja
	cmake --build build -j $(jobs)

demo: build
	build/backlot generate jobspecs/demo.yaml -o out/demo $$(test -e models/smollm2 || echo "--set=jobs[5].enhance=false")
	build/backlot generate jobspecs/demo-clips.yaml -o out/demo-clips
	@echo 'demo: pictures are in out/demo/images, clips in out/demo-clips/videos, each on one page, report.html, beside them'

test: build
	@scripts/test.sh $(jobs)

# What several threads or processes work on at once.
shared_state := base_test run_test run_crash_test run_shards_test result_cache_test redis_test fleet_test \
  fleet_fake supervisor_test redis_fleet_test views_test

tsan: $(ready)
	cmake --preset tsan
	cmake --build build-tsan -j $(jobs) -t $(shared_state:%=tests/%)
	ctest --test-dir build-tsan --output-on-failure -j $(jobs) -R '^($(subst $() ,|,$(shared_state)))$$'

bench: build
	python3 scripts/bench_peers.py $(BENCH)

format:
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

lint: build/build.ninja
	@scripts/lint.sh $(LINT)

coverage: $(ready)
	cmake --preset coverage -DBACKLOT_TORCH='$(torch)'
	cmake --build build-coverage -j $(jobs)
	find build-coverage -name '*.gcda' -delete
	ctest --test-dir build-coverage --output-on-failure -j $(jobs)
	gcovr --root . --filter 'lib/' --filter 'apps/' --exclude-unreachable-branches \
	  --print-summary --fail-under-line 85 build-coverage

dist: $(ready)
	@scripts/dist.sh $(jobs)

clean:
	rm -rf build build-asan build-tsan build-coverage build-dist dist
