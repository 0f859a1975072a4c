# What `cmake --install` puts where: programs, library, headers, units, configuration, documents. With the prefix /usr the
# configuration goes to /etc. The units name the programs by their full paths, so they are written for the prefix.

include(GNUInstallDirs)

# Programs find the library beside them, wherever the tree is put.
foreach(program ackbusd ackbus-gpu ackbus-tool)
  file(RELATIVE_PATH library_from_program ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/${library_from_program}")
endforeach()
install(TARGETS ackbusd ackbus-gpu ackbus-tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS ackbus LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/libclient/include/ackbus DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")

foreach(unit ackbusd.service ackbusd.socket ackbus-gpu@.service)
  file(READ ${CMAKE_SOURCE_DIR}/systemd/${unit} text)
  string(REPLACE "/usr/bin/" "${CMAKE_INSTALL_FULL_BINDIR}/" text "${text}")
  string(REPLACE "/etc/ackbus/" "${CMAKE_INSTALL_FULL_SYSCONFDIR}/ackbus/" text "${text}")
  string(REPLACE "/usr/share/doc/ackbus/" "${CMAKE_INSTALL_FULL_DOCDIR}/" text "${text}")
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/systemd/${unit} CONTENT "${text}" @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/systemd/${unit} DESTINATION lib/systemd/system)
endforeach()
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/systemd/ackbusd.service ${CMAKE_SOURCE_DIR}/systemd/ackbusd.socket ${CMAKE_SOURCE_DIR}/systemd/ackbus-gpu@.service)
install(FILES systemd/ackbus.sysusers DESTINATION lib/sysusers.d RENAME ackbus.conf)
install(FILES systemd/ackbus.tmpfiles DESTINATION lib/tmpfiles.d RENAME ackbus.conf)

# An operator's configuration is never overwritten.
set(config_folder ${CMAKE_INSTALL_FULL_SYSCONFDIR}/ackbus)
install(CODE "
  if(NOT EXISTS \"\$ENV{DESTDIR}${config_folder}/ackbus.toml\")
    file(INSTALL DESTINATION \"${config_folder}\" TYPE FILE FILES \"${CMAKE_SOURCE_DIR}/systemd/ackbus.toml\")
  endif()")

install(FILES systemd/alerts.yml DESTINATION ${CMAKE_INSTALL_DATADIR}/ackbus)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
