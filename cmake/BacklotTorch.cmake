# LibTorch 2.11: compiled against, never linked into the command line. -DBACKLOT_TORCH=DIR names it;
# else the one that scripts/setup.sh put into .deps, else the one that python3 imports.
if(NOT BACKLOT_TORCH)
  file(GLOB _installed ${CMAKE_SOURCE_DIR}/.deps/python/torch)
  if(_installed)
    set(BACKLOT_TORCH ${_installed})
  else()
    execute_process(COMMAND python3 -c
      "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(s.origin) if s else '')"
      OUTPUT_VARIABLE _found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    set(BACKLOT_TORCH "${_found}")
  endif()
endif()
if(NOT EXISTS "${BACKLOT_TORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no LibTorch in '${BACKLOT_TORCH}'; run scripts/setup.sh, or give -DBACKLOT_TORCH=DIR")
endif()
file(STRINGS "${BACKLOT_TORCH}/include/torch/headeronly/version.h" _minor REGEX "define TORCH_VERSION_MINOR")
if(NOT "${_minor}" MATCHES " 11$")
  message(FATAL_ERROR "'${BACKLOT_TORCH}' is not LibTorch 2.11; run scripts/setup.sh, or give -DBACKLOT_TORCH=DIR")
endif()
message(STATUS "LibTorch: ${BACKLOT_TORCH}")

add_library(backlot_torch INTERFACE)
add_library(backlot::torch ALIAS backlot_torch)
target_include_directories(backlot_torch SYSTEM INTERFACE ${BACKLOT_TORCH}/include)
target_link_libraries(backlot_torch INTERFACE ${BACKLOT_TORCH}/lib/libtorch_cpu.so ${BACKLOT_TORCH}/lib/libc10.so)
# The wheel's libraries name CUDA ones that only exist beside it at run time.
target_link_options(backlot_torch INTERFACE -Wl,--allow-shlib-undefined)
# LibTorch's headers carry their own fmt, newer than the system's and found before it: used as
# headers only, in its own inline namespace, it needs no library and meets no other.
target_compile_definitions(backlot_torch INTERFACE FMT_HEADER_ONLY)
# LibTorch's kernels and at::parallel_for run on OpenMP; the runtime is its own libgomp.so.1.
target_compile_options(backlot_torch INTERFACE -fopenmp)
target_link_options(backlot_torch INTERFACE -fopenmp)

# ATen's headers, compiled once for the whole engine and its tests: they take longer than any file.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/aten_headers.cpp CONTENT "// only there to own a precompiled header\n")
add_library(backlot_aten_headers STATIC ${CMAKE_BINARY_DIR}/aten_headers.cpp)
target_link_libraries(backlot_aten_headers PUBLIC backlot::torch PRIVATE backlot_warnings)
target_precompile_headers(backlot_aten_headers PRIVATE <ATen/ATen.h>)
