# shoal_folder(NAME PATH dir [DEPENDS name...] [PARTS target...] [EXCEPT file...])
# A static library of all sources in a folder, called shoal_NAME. What stands in the folder belongs to it, so the
# sources are globbed; EXCEPT names those that are linked elsewhere (an executable's main).
function(shoal_folder name)
  cmake_parse_arguments(arg "" "PATH" "DEPENDS;PARTS;EXCEPT" ${ARGN})
  set(root ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${arg_PATH} ${root}/${name} SYMBOLIC)
  file(GLOB sources CONFIGURE_DEPENDS ${arg_PATH}/*.c)
  foreach(file ${arg_EXCEPT})
    list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/${arg_PATH}/${file})
  endforeach()
  list(TRANSFORM arg_DEPENDS PREPEND shoal_)
  set(target shoal_${name})
  if(sources)
    add_library(${target} STATIC ${sources})
    target_include_directories(${target} PUBLIC ${root})
    target_link_libraries(${target} PUBLIC ${arg_DEPENDS} ${arg_PARTS})
  else()
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE ${root})
    target_link_libraries(${target} INTERFACE ${arg_DEPENDS} ${arg_PARTS})
  endif()
endfunction()

# shoal_build_identity(TARGET): what --version prints: version, commit, build type, compiler, and the libraries built
# with. Git's log of HEAD is looked at by each build, so that the commit is the one that was built.
function(shoal_build_identity target)
  execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} rev-parse --short=12 HEAD
                  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} rev-parse --path-format=absolute --git-path logs/HEAD
                  OUTPUT_VARIABLE log OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(log AND EXISTS ${log})
    set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${log})
  endif()
  if(NOT commit)
    set(commit unknown)
  endif()
  get_property(parts GLOBAL PROPERTY SHOAL_PARTS)
  list(FILTER parts EXCLUDE REGEX cmocka)
  list(JOIN parts ", " parts)
  target_compile_definitions(${target} PRIVATE SHOAL_PARTS="${parts}"
    SHOAL_COMMIT="${commit}" SHOAL_BUILD_TYPE="${CMAKE_BUILD_TYPE}"
    SHOAL_COMPILER="${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}")
endfunction()
