# Warnings for our own code, ccache where there is one, sanitizers on request.
add_library(backlot_warnings INTERFACE)
# g++ 12 warns of string concatenations that are sound (GCC bug 105651).
target_compile_options(backlot_warnings INTERFACE
  -Wall -Wextra -Wno-missing-field-initializers -Wno-restrict -Wno-stringop-overflow)

find_program(CCACHE ccache)
if(CCACHE)
  # Precompiled headers need both settings, or every file misses the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()

if(BACKLOT_SANITIZE)
  add_compile_options(-fsanitize=${BACKLOT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BACKLOT_SANITIZE})
endif()

option(BACKLOT_COVERAGE "instrument for gcovr" OFF)
if(BACKLOT_COVERAGE)
  # Counted atomically: what threads count at once can come out below zero, which gcovr refuses.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:--coverage> $<$<COMPILE_LANGUAGE:CXX>:-fprofile-update=atomic>)
  add_link_options(--coverage)
endif()
