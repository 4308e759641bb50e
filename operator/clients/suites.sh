# Sourced by the scripts beside it: another Debian release from the same archives as this one, below it in priority.
add_suite() { # NAME [PACKAGES]: only the named packages may come before this release's own
  for file in $(grep -ls trixie /etc/apt/sources.list /etc/apt/sources.list.d/*); do
    sed -e "s/trixie/$1/g" "$file" >"/etc/apt/sources.list.d/$1-$(basename "$file")"
  done
  printf 'Package: *\nPin: release n=%s*\nPin-Priority: 100\n\n' "$1" >"/etc/apt/preferences.d/$1"
  if [ -n "${2:-}" ]; then
    printf 'Package: %s\nPin: release n=%s*\nPin-Priority: 990\n\n' "$2" "$1" >>"/etc/apt/preferences.d/$1"
  fi
}
remove_suite() { # NAME
  rm /etc/apt/sources.list.d/"$1"-* "/etc/apt/preferences.d/$1"
}
