#!/bin/sh
# Starts a program as a registered worker with nothing but sh, sed and curl:
#
#   KONTROL_URL=http://127.0.0.1:7000 KONTROL_TOKEN=… SERVICE=web PORT=3000 [KEY=42] sh worker.sh node server.js
#
# It registers, reports `ready` once the port accepts, beats every 5 s, registers again when it was forgotten, and on
# TERM drains and leaves before it ends the program. An API that is away changes nothing. (`kontrol run` does this and
# more: start modes, restarts with back-off, the whole process group.)
set -u
: "${KONTROL_URL:?}" "${KONTROL_TOKEN:?}" "${SERVICE:?}" "${PORT:?}"
ID=
STATE=starting

api() {
  curl -s -m "${TIMEOUT:-10}" -H "Authorization: Bearer $KONTROL_TOKEN" -H 'Content-Type: application/json' "$@"
}

register() {
  ID=$(api -d "{\"service\":\"$SERVICE\",\"key\":${KEY:-1},\"port\":$PORT,\"pid\":$PROGRAM}" "$KONTROL_URL/v1/workers" |
    sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
}

# 7: refused, 28: no answer in time; whatever else comes back, the port accepts.
accepts() {
  curl -s -o /dev/null -m 1 "http://127.0.0.1:$PORT/"
  case $? in 7 | 28) return 1 ;; esac
}

beat() {
  ANSWER=$(api -X PUT -d "{\"state\":\"$STATE\"}" -w '%{http_code}' "$KONTROL_URL/v1/workers/$ID/heartbeat")
  case $ANSWER in
    *404) ID= ;;
    *'"command":"stop"'*) leave ;;
  esac
}

leave() {
  trap '' TERM INT
  if [ -n "$ID" ]; then
    TIMEOUT=40 api -X POST "$KONTROL_URL/v1/workers/$ID/drain?wait=all&timeout=30s" > /dev/null
    api -X DELETE "$KONTROL_URL/v1/workers/$ID" > /dev/null
  fi
  kill -TERM "$PROGRAM" 2> /dev/null
  wait "$PROGRAM"
  exit 0
}

"$@" &
PROGRAM=$!
trap leave TERM INT

while kill -0 "$PROGRAM" 2> /dev/null; do
  if [ "$STATE" = starting ] && accepts; then STATE=ready; fi
  if [ -z "$ID" ]; then register; fi
  if [ -n "$ID" ]; then beat; fi
  # A signal ends the wait, not the sleep of a plain `sleep`.
  if [ "$STATE" = ready ] && [ -n "$ID" ]; then sleep 5 & else sleep 1 & fi
  wait $!
done
if [ -n "$ID" ]; then api -X DELETE "$KONTROL_URL/v1/workers/$ID" > /dev/null; fi
wait "$PROGRAM"
