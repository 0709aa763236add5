# Installs a text in which @CMAKE_INSTALL_PREFIX@ is that of the installation: `cmake --install` may be told another
# one than the build was.
function(shoal_install_text template name destination)
  install(CODE "
    set(PROJECT_VERSION \"${PROJECT_VERSION}\")
    set(CMAKE_INSTALL_BINDIR \"${CMAKE_INSTALL_BINDIR}\")
    set(CMAKE_INSTALL_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")
    set(CMAKE_INSTALL_INCLUDEDIR \"${CMAKE_INSTALL_INCLUDEDIR}\")
    configure_file(\"${CMAKE_CURRENT_SOURCE_DIR}/${template}\" \"${CMAKE_CURRENT_BINARY_DIR}/${name}\" @ONLY)")
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name} DESTINATION ${destination})
endfunction()

# Installs a shell's completion, which the program prints itself.
function(shoal_install_completion shell folder name)
  set(file ${CMAKE_CURRENT_BINARY_DIR}/completion/${name})
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/completion)
  install(CODE "
    execute_process(COMMAND \"$<TARGET_FILE:shoal_command>\" completion ${shell} OUTPUT_FILE \"${file}\"
      COMMAND_ERROR_IS_FATAL ANY)")
  install(FILES ${file} DESTINATION ${CMAKE_INSTALL_DATADIR}/${folder})
endfunction()
