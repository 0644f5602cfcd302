#!/usr/bin/env bash
# Runs one stage of a target and shows its name before and its time after it.
#
#   tests/tools/stage.sh NAME COMMAND [ARGUMENT]...
set -uo pipefail
name=$1
shift
began=$SECONDS
echo "==> $name" >&2
"$@" </dev/null
status=$?
if [ $status -eq 0 ]; then
  echo "==> $name: $((SECONDS - began)) s" >&2
else
  echo "==> $name: failed after $((SECONDS - began)) s: $*" >&2
fi
exit $status
