#!/bin/sh
# A compiler launcher: keep_resources.sh COMPILER ... -o OBJECT ...
# Writes the resource usage that ptxas prints for each kernel (registers, shared and local memory) to
# OBJECT.resources for tools/kernel-report, and passes all other messages on.
previous= object=
for argument; do
    [ "$previous" = -o ] && object=$argument
    previous=$argument
done
said=$object.said status=0
"$@" 2>"$said" || status=$?
ptxas='^ptxas info|^ *[0-9]+ bytes stack frame'
grep -E "$ptxas" "$said" >"$object.resources"
grep -Ev "$ptxas" "$said" >&2
rm -f "$said"
exit $status
