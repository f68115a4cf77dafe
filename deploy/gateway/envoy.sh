#!/usr/bin/env bash
# Envoy as the process of a container, so that stopping it is noticed by nobody: what deploy/gateway/drain.py does for
# the embedded stack, with nothing but what Envoy's image has.
#
#   envoy.sh run ARGUMENTS...   runs Envoy with them; on SIGTERM it takes no new connections and ends once no request
#                               is at work, after COMPASS_GATEWAY_DRAIN_SECONDS (5) at the latest
#   envoy.sh healthy            whether it is ready
#   envoy.sh drain              only that, for who stops it otherwise
#
# Envoy's administration is at COMPASS_GATEWAY_ADMIN_PORT of 127.0.0.1.
set -euo pipefail

admin=${COMPASS_GATEWAY_ADMIN_PORT:?is not set}
patience=${COMPASS_GATEWAY_DRAIN_SECONDS:-5}

ask() { # METHOD PATH: the answer, headers and all
  local connection
  exec {connection}<>"/dev/tcp/127.0.0.1/$admin" || return 1
  printf '%s %s HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n' "$1" "$2" >&"$connection"
  timeout 5 cat <&"$connection"
  exec {connection}>&-
}

at_work() {
  ask GET '/stats?filter=^http\.gateway\.downstream_rq_active$' | sed -n 's/^http\.gateway\.downstream_rq_active: \([0-9]*\).*/\1/p'
}

drain() {
  # No answer: it is not up yet, or gone already.
  ask POST /drain_listeners >/dev/null 2>&1 || return 0
  local deadline=$((SECONDS + patience))
  while ((SECONDS < deadline)) && [ "$(at_work 2>/dev/null)" != 0 ]; do sleep 0.1; done
}

stop() {
  trap '' TERM INT
  stopping=1
  drain
  kill -TERM "$envoy" 2>/dev/null || true
}

case ${1:-} in
  run)
    shift
    envoy "$@" &
    envoy=$!
    stopping=0
    trap stop TERM INT
    status=0
    wait "$envoy" || status=$?
    # A signal ends the waiting, once it has been dealt with, and not Envoy.
    if ((stopping)); then
      status=0
      wait "$envoy" || status=$?
    fi
    exit "$status"
    ;;
  healthy) ask GET /ready | head -n 1 | grep -q ' 200 ' ;;
  drain) drain ;;
  *)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
