# backlot_library(NAME SOURCES... [LINK targets...] [PRIVATE_LINK targets...] [ATEN])
# A static library of one folder under lib/; headers are included as "folder/name.h". ATEN: its files
# start from the precompiled <ATen/ATen.h>.
function(backlot_library name)
  cmake_parse_arguments(A "ATEN" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/lib)
  target_link_libraries(${name} PUBLIC ${A_LINK} PRIVATE backlot_warnings ${A_PRIVATE_LINK})
  if(A_ATEN)
    target_precompile_headers(${name} REUSE_FROM backlot_aten_headers)
  endif()
endfunction()

# backlot_test(NAME SOURCES... LINK targets... [LABELS labels...] [TIMEOUT seconds] [ATEN])
# One GoogleTest program, registered as one ctest entry. Tests find their data through
# BACKLOT_TEST_DATA (tests/data) and the built binary through BACKLOT_BINARY.
function(backlot_test name)
  cmake_parse_arguments(A "ATEN" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR}/tests ${RAPIDCHECK_INCLUDE})
  target_link_libraries(${name} PRIVATE ${A_LINK} GTest::gtest GTest::gtest_main ${RAPIDCHECK_LIBRARY} backlot_warnings)
  target_compile_definitions(${name} PRIVATE
    BACKLOT_SOURCE_DIR="${CMAKE_SOURCE_DIR}" BACKLOT_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
    BACKLOT_BINARY="${CMAKE_BINARY_DIR}/backlot")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(A_ATEN)
    target_precompile_headers(${name} REUSE_FROM backlot_aten_headers)
    target_compile_options(${name} PRIVATE -fPIC)  # as the header was compiled
  else()
    target_compile_options(${name} PRIVATE -O1)  # tests wait longer for the compiler than for themselves
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT}
    ENVIRONMENT "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/support/leaks.supp:print_suppressions=0")
endfunction()
