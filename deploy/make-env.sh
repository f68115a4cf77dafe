#!/usr/bin/env bash
# Makes deploy/.env, which deploy/compose.yaml is configured by: random secrets, readable by you only.
#
#   deploy/make-env.sh [--demo] [FILE]
#
# --demo allows the demo users, whose password is public: never where real people's data is.
# A file that is there stays as it is: its secrets are those of the data in the volumes. Needs nothing but coreutils.
set -euo pipefail

environment=production
if [ "${1:-}" = --demo ]; then
  environment=local
  shift
fi
if [ $# -gt 1 ] || [[ ${1:-} == -* ]]; then
  sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
file=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/.env}

random() { head -c "$1" /dev/urandom; }
# Hexadecimal, so that they need no quoting in a URL.
password() { random 24 | od -An -v -tx1 | tr -d ' \n'; }

umask 077
# Written beside it and linked to its name, which fails where that is taken: whole or not at all.
unfinished=$(mktemp "$file.XXXXXX")
trap 'rm -f "$unfinished"' EXIT
{
  echo "# Secrets of deploy/compose.yaml. Keep a copy: without the key the signing keys in the database are lost."
  echo "COMPASS_ENVIRONMENT=$environment"
  echo "COMPASS_POSTGRES_PASSWORD=$(password)"
  for service in SIGNALS WORKFLOW ACTIVITY AUTH; do
    echo "COMPASS_${service}_OWNER_PASSWORD=$(password)"
    echo "COMPASS_${service}_PASSWORD=$(password)"
  done
  echo "COMPASS_KEY_ENCRYPTION_KEY=$(random 32 | base64)"
  # Kafka's ids are 16 bytes like this; the letter keeps it from starting with a dash.
  echo "COMPASS_KAFKA_CLUSTER_ID=C$(random 16 | base64 | tr '+/' '-_' | head -c 21)"
  echo "COMPASS_GRAFANA_PASSWORD=$(password)"
} >"$unfinished"
if ! ln "$unfinished" "$file" 2>/dev/null; then
  echo "$file is there already, or cannot be written; nothing was changed." >&2
  exit 1
fi
echo "Made $file."
