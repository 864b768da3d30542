#!/usr/bin/env bash
# Run a command as on a lesser processor: as_processor.sh CLASS COMMAND...
#
# Caps both our kernels and oneDNN. Below avx512_bf16 bfloat16 is emulated; there and with amx it is
# the processor's own. Where the processor lacks the class the exit status is 77.
set -euo pipefail

case $1 in
plain) our=plain dnn=SSE41 needs=() ;;
avx2) our=avx2 dnn=AVX2 needs=(avx2 fma) ;;
avx512) our=avx512 dnn=AVX512_CORE needs=(avx512f avx512bw avx512vl avx512dq) ;;
avx512_bf16) our=avx512 dnn=AVX512_CORE_BF16 needs=(avx512f avx512bw avx512vl avx512dq avx512_bf16) ;;
amx) our=avx512 dnn=AVX512_CORE_AMX needs=(amx_tile amx_int8 amx_bf16) ;;
*) echo "as_processor.sh: no class $1" >&2; exit 2 ;;
esac
for flag in "${needs[@]}"; do
    if ! grep -qE "^flags.* $flag( |$)" /proc/cpuinfo; then
        echo "this processor is not of the class $1: it has no $flag"
        exit 77
    fi
done
shift
export MICROMET_CPU_ISA=$our DNNL_MAX_CPU_ISA=$dnn
exec "$@"
