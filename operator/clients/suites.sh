# Sourced by the scripts beside it: Debian's sources of another release, below this one's in priority.
add_suite() { # NAME [PACKAGES]: only the named packages may come before this release's own
  sed -e "s/trixie/$1/g" /etc/apt/sources.list.d/debian.sources >"/etc/apt/sources.list.d/$1.sources"
  printf 'Package: *\nPin: release n=%s*\nPin-Priority: 100\n\n' "$1" >"/etc/apt/preferences.d/$1"
  if [ -n "${2:-}" ]; then
    printf 'Package: %s\nPin: release n=%s*\nPin-Priority: 990\n\n' "$2" "$1" >>"/etc/apt/preferences.d/$1"
  fi
}
remove_suite() { # NAME
  rm "/etc/apt/sources.list.d/$1.sources" "/etc/apt/preferences.d/$1"
}
