# shellcheck shell=sh
# Installs the Outrider agent on this machine, or upgrades it. A hub serves this with three variables before it: hub (its address),
# ca_pem (the certificate of its own authority, or nothing) and releases (a line for each: platform, version, file, SHA-256 of the
# archive, its bytes, bytes unpacked, SHA-256 of the manifest, Node's version or -).
#
# What is not done here is done by `outrider agent install` of the release itself; its flags are taken and passed on.
set -eu

say() {
  printf '%s\n' "$*" >&2
}

fail() {
  say "outrider: $*"
  exit 1
}

usage() {
  say "Usage: install.sh [--token TOKEN] [--device ID] [--no-start] [--no-systemd] [--insecure-plain-text] [flags of outrider agent install]"
  say "The token may come in OUTRIDER_ENROLL_TOKEN as well, which no list of processes shows."
}

# Sets platform.
find_platform() {
  [ "$(uname -s)" = Linux ] || fail "agents are installed on Linux alone, and this is $(uname -s)"
  case $(uname -m) in
    x86_64 | amd64) platform=linux-x64 loader=/lib64/ld-linux-x86-64.so.2 ;;
    aarch64 | arm64) platform=linux-arm64 loader=/lib/ld-linux-aarch64.so.1 ;;
    armv6l | armv7l | i?86) fail "this system is 32-bit ($(uname -m)): the agent needs a 64-bit one, on a Raspberry Pi the 64-bit Raspberry Pi OS" ;;
    *) fail "there is no Outrider for $(uname -m), only for x86_64 and aarch64" ;;
  esac
  if [ ! -e "$loader" ]; then
    for musl in /lib/ld-musl-*; do
      [ ! -e "$musl" ] || fail "this system has musl, and ONNX Runtime is built for glibc alone: take a Debian, Ubuntu or Fedora"
    done
    fail "this system has no $loader: a 64-bit system with glibc is needed (a 64-bit kernel with 32-bit programs is not)"
  fi
}

need_tools() {
  for tool in tar gzip sha256sum mktemp df; do
    command -v "$tool" > /dev/null || fail "this machine has no $tool: install it, and try again"
  done
  command -v curl > /dev/null || command -v wget > /dev/null || fail "this machine has neither curl nor wget: install one, and try again"
}

# fetch URL FILE
fetch() {
  if command -v curl > /dev/null; then
    if [ -n "$ca_pem" ]; then
      curl -fsS --proto =https --cacert "$work/ca.pem" --retry 3 -o "$2" "$1"
    else
      curl -fsS --retry 3 -o "$2" "$1"
    fi
  elif [ -n "$ca_pem" ]; then
    wget -q --ca-certificate="$work/ca.pem" -O "$2" "$1"
  else
    wget -q -O "$2" "$1"
  fi
}

# enough_room FOLDER BYTES
enough_room() {
  free_kib=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
  [ "$free_kib" -ge $(($2 / 1024)) ] || fail "$1 has $((free_kib / 1024)) MiB free, and $(($2 / 1048576)) MiB are needed"
}

has_node() {
  node_path=$(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin command -v node) || return 1
  "$node_path" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
}

# The token is the first argument, and goes on by a pipe: arguments of other programs can be read by everybody.
install_from() {
  secret=$1 from=$2
  shift 2
  if [ -n "$secret" ]; then
    printf '%s\n' "$secret" | "$from/bin/outrider" agent install --hub "$hub" --token - "$@"
  else
    "$from/bin/outrider" agent install --hub "$hub" "$@" < /dev/null
  fi
}

main() {
  umask 022
  token=${OUTRIDER_ENROLL_TOKEN:-}
  unset OUTRIDER_ENROLL_TOKEN
  with_systemd=yes
  left=$#
  while [ "$left" -gt 0 ]; do
    case $1 in
      -h | --help)
        usage
        return 0
        ;;
      --token)
        [ "$left" -ge 2 ] || fail "--token wants a token"
        token=$2
        shift
        left=$((left - 1))
        ;;
      --token=*) token=${1#--token=} ;;
      --root | --root=*) fail "--root is for outrider agent install itself, from an unpacked release" ;;
      *)
        [ "$1" != --no-systemd ] || with_systemd=no
        set -- "$@" "$1"
        ;;
    esac
    shift
    left=$((left - 1))
  done

  [ "$(id -u)" = 0 ] || fail "this makes a user and a service, which only root may: pipe it into sudo sh"
  find_platform
  need_tools
  [ "$with_systemd" = no ] || [ -d /run/systemd/system ] ||
    fail "systemd does not run this machine: --no-systemd installs all but the service, and says how to start the agent by hand"
  row=$(printf '%s\n' "$releases" | grep "^$platform " | head -n 1) || true
  [ -n "$row" ] || fail "$hub has no release for $platform. On the hub's side, in a checkout: npx outrider release --platform $platform --with-node --out DIR, where DIR is the hub's folder of releases (data/hub/releases, or --releases)"
  read -r _ version file sha256 bytes unpacked manifest node << ROW
$row
ROW
  [ "$node" != - ] || has_node ||
    fail "the release that $hub has for $platform comes without Node, and this machine has none that is 20.19 or newer for all users: install Node, or have the hub's release made with --with-node"

  base=/opt/outrider
  mkdir -p "$base"
  if printf '%s  %s\n' "$manifest" "$base/current/manifest.json" | sha256sum -c > /dev/null 2>&1; then
    say "Outrider $version is here already"
    install_from "$token" "$base/current" "$@"
    return
  fi
  enough_room "$base" $((bytes + unpacked + 52428800))
  work=$(mktemp -d "$base/.incoming-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  [ -z "$ca_pem" ] || printf '%s\n' "$ca_pem" > "$work/ca.pem"
  say "Outrider $version for $platform, $((bytes / 1000000)) MB, from $hub"
  fetch "$hub/releases/$file" "$work/$file" || fail "$hub/releases/$file cannot be fetched"
  printf '%s  %s\n' "$sha256" "$work/$file" | sha256sum -c > /dev/null 2>&1 ||
    fail "what came from $hub is not the release that it lists (its SHA-256 differs): nothing was installed, try again"
  mkdir "$work/release"
  tar -xzf "$work/$file" -C "$work/release" --strip-components=1 --no-same-owner
  rm "$work/$file"
  install_from "$token" "$work/release" "$@"
}

main "$@"
