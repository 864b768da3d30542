#!/usr/bin/env bash
# usage: check.sh SOURCE [NM LIST...]
#
# The rooms of the house (src/README.md): who may include whom, which libraries are spoken to where, no circles, and no
# file that outgrows its reader. SOURCE is the folder with src/, include/ and cuda/. Each LIST holds the object files of
# a program or library, a line for each; they are asked with NM for the functions and variables that files take from one
# another, which no #include shows. Every violation is one line; without any the exit code is 0.
set -euo pipefail
export LC_ALL=C

# Room, and the rooms or single headers that its files may include; their own they may.
# Order: base <- world <- format <- slide <- synth, data <- nn <- report <- run <- sweep, export, bench <- cli. The two backends (cpu, cuda)
# see of nn and data what describes an op, and nobody sees them.
rooms='
base    -
world   base
format  base
slide   base format
synth   base
data    base slide
nn      base world format data
report  base format
run     base world format slide data nn report
sweep   base format run
export  base format nn run
bench   base slide data nn run
cli     base world format slide synth data nn report run sweep export bench
cpu     base world nn/backend.h nn/tensor.h nn/augment_pixel.h nn/optimizer.h data/augment.h data/augment_draw.h
cuda    base nn/backend.h nn/tensor.h nn/augment_pixel.h nn/gpu.h nn/gpu_plan.h data/augment_draw.h
'

# What is taken from a room that must not be included: the file, the room, and why.
taken='
nn/backend.c  cpu  the registry of backends names the one that is linked in; the other is loaded
'

# Header of a library or a generated one, and the rooms that may include it.
libraries='
openslide.h             slide
libxml/xmlreader.h      slide
tiffio.h                slide format
hdf5.h                  format
zip.h                   format
png.h                   format
onnx/onnx.pb-c.h        format
format/event.pb-c.h     format
seccomp.h               format
jansson.h               format run sweep export
xxhash.h                slide format run sweep cuda
yaml.h                  base
jpeglib.h               synth
zlib.h                  synth slide
cairo.h                 report
dnnl.h                  cpu
omp.h                   cpu
immintrin.h             cpu bench
arm_neon.h              cpu
export_module.h         export
export_torchscript.h    export
sweep_page.h            sweep
cuda_runtime.h          cuda
cuda_runtime_api.h      cuda
cuda_bf16.h             cuda
cudnn.h                 cuda
cublasLt.h              cuda
nccl.h                  cuda
nvtx3/nvToolsExt.h      cuda
simulated_device.h      cuda
mpi.h                   world
arpa/inet.h             world
ifaddrs.h               world
net/if.h                world
netdb.h                 world
netinet/in.h            world
netinet/tcp.h           world
poll.h                  world
'

# Headers of the C library and of Linux, which belong to everybody.
system='^((sys|linux)/[a-z]+|assert|ctype|dirent|dlfcn|errno|fcntl|inttypes|limits|malloc|math|pthread|sched|setjmp|signal|spawn|'
system+='std(arg|atomic|bool|def|int|io|lib)|strings?|time|unistd)[.]h$'

# Files longer than 500 lines, and why they are one file.
lines_max=500
long='
'

# Two files that need each other, and why they may.
circles='
cli/completion.c  cli/main.c  a command that tells of all commands stands in their table itself
cli/help.c        cli/main.c  likewise
cli/manual.c      cli/main.c  likewise
'

source=$1
shift
cd "$source"
work=$(mktemp -d "${TMPDIR:-/tmp}/micromet-rooms-XXXXXX")
trap 'rm -rf "$work"' EXIT

# What comes in is out of order.
complain() {
    sed 's/^/rooms: /' | tee -a "$work/complaints" >&2
}

# --- what includes what -----------------------------------------------------------------------------

# FILE HEADER KIND, a line for each #include; KIND is < or ".
find src include/micromet cuda -type f -regex '.*\.\(c\|h\|inc\|cu\|cuh\)' | sort >"$work/files"
xargs awk '/^[ \t]*#[ \t]*include[ \t]/ && match($0, /[<"][^>"]*[>"]/) {
               print FILENAME, substr($0, RSTART + 1, RLENGTH - 2), substr($0, RSTART, 1)
           }' <"$work/files" >"$work/includes"
[[ -s $work/includes ]] || { echo "rooms: there are no files under $source" >&2; exit 1; }

# Each is a header of ours (its path), a library's, or the system's; those that are where they may not be.
awk -v rooms="$rooms" -v libraries="$libraries" -v system_headers="$system" -v edges="$work/edges" '
    function room_of(path,    parts) {
        sub(/^include\/micromet\//, "", path)
        sub(/^src\//, "", path)
        split(path, parts, "/")
        return parts[1]
    }
    function rows(text, table,    lines, n, i, fields, m, k) {
        n = split(text, lines, "\n")
        for (i = 1; i <= n; i++) {
            m = split(lines[i], fields, " ")
            if (m) table[fields[1]]
            for (k = 2; k <= m; k++) table[fields[1], fields[k]]
        }
    }
    BEGIN { rows(rooms, may); rows(libraries, speaks) }
    NR == FNR { exists[$1]; next }
    {
        here = room_of($1)
        folder = $1
        sub(/[^\/]*$/, "", folder)
        if (!(here in may)) { print $1 ": the room " here " is in no table"; next }
        if ($2 ~ /^micromet\//) path = "include/" $2
        else path = folder $2
        if ($3 == "\"" && path in exists) {
            print $1, path >edges
            there = room_of(path)
            name = path
            sub(/^include\/micromet\//, "", name)
            if (there != here && !((here, there) in may) && !((here, name) in may))
                print $1 ": includes " $2 ", but " here " stands below or beside " there
        } else if ($2 in speaks) {
            if (!(($2, here) in speaks)) print $1 ": includes " $2 ", which is not for the room " here
        } else if ($3 == "<" && $2 ~ system_headers) {
        } else print $1 ": includes " $2 ", which is neither in its folder nor in a table"
    }' "$work/files" "$work/includes" | complain

# --- circles ----------------------------------------------------------------------------------------

# Pairs FILE FILE in, a line for each circle out.
find_circles() {
    tsort 2>&1 >/dev/null | awk -v what="$1" '
        function tell() { if (circle) print "a circle of " what ":" circle; circle = "" }
        /loop:$/ { tell(); next }
        { sub(/^tsort: /, ""); circle = circle " " $0 }
        END { tell() }' || true
}
find_circles includes <"$work/edges" | complain
awk 'NF { for (i = 2; i <= NF; i++) { sub(/\/.*/, "", $i); if ($i != "-") print $1, $i } }' <<<"$rooms" |
    find_circles rooms | complain

# What the files of one program take from one another: FILE OWNER NAME, a line for each.
uses() {
    xargs "$nm" -A -P -g <"$1" | sed -E 's,^[^ ]*/((src|cuda)/[^ ]*)\.o: ,\1 ,' |
        awk '$3 ~ /^[TDBRVWC]$/ { owner[$2] = $1 }
             $3 == "U" { wants[$1, $2] }
             END { for (pair in wants) {
                       split(pair, p, SUBSEP)
                       if (p[2] in owner && owner[p[2]] != p[1]) print p[1], owner[p[2]], p[2]
                   } }' | sort
}

nm=${1-}
for list in "${@:2}"; do
    uses "$list" >"$work/uses"
    [[ -s $work/uses ]] || { echo "rooms: the objects in $list take nothing from one another" >&2; exit 1; }
    awk -v rooms="$rooms" -v taken="$taken" '
        function room_of(path) {
            sub(/^src\//, "", path)
            sub(/\/.*/, "", path)
            return path
        }
        BEGIN {
            n = split(rooms, lines, "\n")
            for (i = 1; i <= n; i++) {
                m = split(lines[i], fields, " ")
                for (k = 2; k <= m; k++) { sub(/\/.*/, "", fields[k]); may[fields[1], fields[k]] }
            }
            n = split(taken, lines, "\n")
            for (i = 1; i <= n; i++) if (split(lines[i], fields, " ")) excused["src/" fields[1], fields[2]]
        }
        {
            here = room_of($1)
            there = room_of($2)
            if (here != there && !((here, there) in may) && !(($1, there) in excused))
                print $1 ": takes " $3 " from " $2 ", but " here " stands below or beside " there
        }' "$work/uses" | complain
    awk -v circles="$circles" '
        BEGIN {
            n = split(circles, lines, "\n")
            for (i = 1; i <= n; i++)
                if (split(lines[i], f, " ")) excused["src/" f[1], "src/" f[2]]
        }
        !(($1, $2) in excused) && !(($2, $1) in excused) { print $1, $2 }' "$work/uses" | sort -u |
        find_circles "functions and variables" | sort -u | complain
done

# --- length -----------------------------------------------------------------------------------------

xargs wc -l <"$work/files" | awk -v max="$lines_max" -v long="$long" '
    BEGIN {
        n = split(long, lines, "\n")
        for (i = 1; i <= n; i++) if (split(lines[i], f, " ")) excused[f[1]]
    }
    $2 == "total" { next }
    $1 > max && !($2 in excused) { print $2 ": " $1 " lines, and no reason for more than " max }
    { if ($1 <= max) delete excused[$2] }
    END { for (file in excused) if (file) print file ": has a reason for more than " max " lines, but no need of it" }' |
    complain

[[ ! -s $work/complaints ]]
