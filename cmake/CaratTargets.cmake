# The few build rules of the project: one library per folder of src/, tests that mirror it, fuzz targets.

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CARAT_CCACHE ccache)
  if(CARAT_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CARAT_CCACHE}")
  endif()
endif()

# A product is rounded before it is added to, on every architecture: gcc would fuse the two where the base architecture
# can (ARM), and the same code would give other bits. The kernel tables fuse on purpose.
add_compile_options(-ffp-contract=off)

add_library(carat_flags INTERFACE)
target_compile_options(carat_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # gcc 12 reports overlapping copies inside std::string's own operator+ (GCC bug 105651).
  target_compile_options(carat_flags INTERFACE -Wno-restrict)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # libstdc++ 12's own std::stable_sort uses get_temporary_buffer, which C++20 deprecates.
  target_compile_options(carat_flags INTERFACE -Wno-deprecated-declarations)
endif()
if(CARAT_SANITIZE)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code hides from gcc 12 that std::function members are set (seen in std::regex).
    target_compile_options(carat_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
  add_compile_options(-fsanitize=${CARAT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -UNDEBUG)
  if(CARAT_FUZZ)
    add_compile_options(-g)
  else()
    # Instrumented test code takes twice as long to compile at -O2 with full debug information.
    add_compile_options(-O1 -g1)
  endif()
  add_link_options(-fsanitize=${CARAT_SANITIZE})
endif()
if(CARAT_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# carat_folder(NAME [PUBLIC deps…]): the library carat_NAME from every .cpp of the current folder and its subfolders,
# less those an ISA rule compiles with its own flags. Includes are written from the root of src/ and include/.
function(carat_folder name)
  cmake_parse_arguments(ARG "" "" "PUBLIC;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  foreach(pattern IN LISTS ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${pattern}")
  endforeach()
  if(sources)
    add_library(carat_${name} STATIC ${sources})
    target_include_directories(carat_${name} PUBLIC "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include")
    target_link_libraries(carat_${name} PUBLIC ${ARG_PUBLIC} PRIVATE carat_flags)
  else()
    add_library(carat_${name} INTERFACE)
    target_include_directories(carat_${name} INTERFACE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include")
    target_link_libraries(carat_${name} INTERFACE ${ARG_PUBLIC})
  endif()
endfunction()

# carat_tests(NAME deps…): one test program from every *_test.cpp of the current folder. Tests find committed data below
# CARAT_TEST_DATA (the folder tests/ of the source tree).
function(carat_tests name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_tests ${sources})
  target_link_libraries(${name}_tests PRIVATE ${ARGN} carat_flags GTest::gtest GTest::gtest_main)
  target_include_directories(${name}_tests PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  target_compile_definitions(${name}_tests PRIVATE CARAT_TEST_DATA="${PROJECT_SOURCE_DIR}/tests"
                             CARAT_SOURCE_DIR="${PROJECT_SOURCE_DIR}" CARAT_BINARY_DIR="${PROJECT_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name}_tests)
endfunction()

# carat_fuzz(NAME deps…): fuzz/NAME.cpp defines LLVMFuzzerTestOneInput. With CARAT_FUZZ it becomes a libFuzzer program;
# otherwise fuzz/replay_main.cpp runs it once over each file of fuzz/corpus/NAME, as an ordinary test.
function(carat_fuzz name)
  if(CARAT_FUZZ)
    add_executable(fuzz_${name} ${name}.cpp)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${name}.cpp replay_main.cpp)
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
  endif()
  target_link_libraries(fuzz_${name} PRIVATE ${ARGN} carat_flags)
endfunction()
