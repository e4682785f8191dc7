#include "engine/loader.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <vector>

#include "base/error.h"
#include "base/install.h"
#include "base/text.h"
#include "cuda/plugin.h"
#include "engine/entry.h"

namespace backlot {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view install_mend =
    "run scripts/setup.sh, or 'pip install torch==2.11.0', or point BACKLOT_TORCH at a torch or "
    "LibTorch 2.11 folder";

fs::path executable_folder() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::current_path() : self.parent_path();
}

bool is_torch_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path / "lib" / "libtorch_cpu.so", ignored);
}

// A Python package says it in version.py, a LibTorch archive in build-version.
std::string torch_version(const fs::path& path) {
  std::string line;
  if (std::ifstream file(path / "build-version"); file && std::getline(file, line))
    return std::string(trim(line));
  static const std::regex assignment("__version__ *= *['\"]([^'\"]+)['\"]");
  for (std::ifstream file(path / "version.py"); std::getline(file, line);)
    if (std::smatch match; std::regex_search(line, match, assignment)) return match[1];
  return "";
}

// Where `import torch` would find it. Only the module's place is asked for: importing takes
// seconds.
fs::path python_torch() {
  constexpr const char* command =
      "python3 -c \"import importlib.util as u, os; s = u.find_spec('torch'); "
      "print(os.path.dirname(s.origin) if s and s.origin else '')\" 2>/dev/null";
  std::FILE* pipe = ::popen(command, "r");
  if (!pipe) return {};
  std::array<char, 4096> buffer{};
  std::string out;
  while (std::fgets(buffer.data(), buffer.size(), pipe)) out += buffer.data();
  ::pclose(pipe);
  return fs::path(std::string(trim(out)));
}

std::optional<TorchFolder> torch_at(const fs::path& path, std::string found_by) {
  if (path.empty() || !is_torch_folder(path)) return std::nullopt;
  return TorchFolder{path, torch_version(path), std::move(found_by)};
}

void* open_library(const fs::path& path, int scope) {
  void* handle = ::dlopen(path.c_str(), RTLD_LAZY | scope);
  if (!handle)
    throw EnvironmentError(path.string(), fmt::format("cannot be loaded ({})", ::dlerror()),
                           std::string(install_mend));
  return handle;
}

// LibTorch's CUDA half refers to the driver, so it is opened only where a driver answers.
void open_cuda(const TorchFolder& torch) {
  if (!::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL))
    throw EnvironmentError("--device cuda", "no NVIDIA driver on this machine",
                           "use --device cpu, or run on a machine with an NVIDIA GPU");
  for (const char* name : {"libc10_cuda.so", "libtorch_cuda.so"}) {
    const fs::path library = torch.path / "lib" / name;
    if (!fs::exists(library))
      throw EnvironmentError(torch.path.string(), "this LibTorch has no CUDA libraries",
                             "install the CUDA build of torch 2.11, or use --device cpu");
    open_library(library, RTLD_GLOBAL);
  }
}

// backlot's own CUDA kernels. Its operators are there for LibTorch from now on. Everything works
// without it: what is wrong with it is returned, "" if nothing is.
std::string open_cuda_plugin(const fs::path& engine) {
  const fs::path file = engine.parent_path() / "libbacklot_cuda.so";
  if (!fs::exists(file)) return "was not built";
  void* plugin = ::dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!plugin) return fmt::format("cannot be loaded ({})", ::dlerror());
  const auto abi = reinterpret_cast<CudaPluginAbi>(::dlsym(plugin, cuda_plugin_abi_name));
  // Its operators can't be taken back.
  if (!abi || abi() != cuda_plugin_abi)
    throw EnvironmentError(file.string(), "belongs to another version of backlot",
                           "install all of backlot's libraries of the same version");
  return "";
}

}  // namespace

std::optional<TorchFolder> find_torch() {
  if (const char* named = std::getenv("BACKLOT_TORCH"); named && *named) {
    // The variable's word is final: falling back to another copy would hide a typing error.
    return torch_at(named, "BACKLOT_TORCH");
  }
  const fs::path here = executable_folder();
  for (const auto& folder :
       {here / "torch", here / "libtorch", here / ".." / "torch", here / ".." / "libtorch"})
    if (auto found = torch_at(folder.lexically_normal(), "beside the binary")) return found;
  if (auto found = torch_at(BACKLOT_BUILT_WITH_TORCH, "as built")) return found;
  return torch_at(python_torch(), "python3");
}

std::optional<fs::path> find_engine() { return own_library("libbacklot_engine.so"); }

std::unique_ptr<Engine> load_engine(const EngineOptions& options) {
  const auto torch = find_torch();
  if (!torch) {
    const char* named = std::getenv("BACKLOT_TORCH");
    if (named && *named)
      throw EnvironmentError(fmt::format("BACKLOT_TORCH={}", named),
                             "no lib/libtorch_cpu.so in that folder",
                             "name the folder of a torch or LibTorch 2.11, or unset the variable");
    throw EnvironmentError("LibTorch", "not found on this machine", std::string(install_mend));
  }
  if (!torch->version.empty() && !torch->version.starts_with("2.11."))
    throw EnvironmentError(torch->path.string(),
                           fmt::format("is torch {}, backlot needs 2.11", torch->version),
                           std::string(install_mend));
  const auto engine = find_engine();
  if (!engine)
    throw EnvironmentError("libbacklot_engine.so", "not found beside the backlot binary",
                           "keep bin/ and lib/ of the distribution together, or run 'make build'");

  open_library(torch->path / "lib" / "libc10.so", RTLD_GLOBAL);
  open_library(torch->path / "lib" / "libtorch_cpu.so", RTLD_GLOBAL);
  EngineOptions told = options;
  if (options.device.starts_with("cuda")) {
    open_cuda(*torch);
    told.plugin_problem = open_cuda_plugin(*engine);
  }
  void* library = open_library(*engine, RTLD_LOCAL);
  const auto make = reinterpret_cast<MakeEngine>(::dlsym(library, "backlot_make_engine"));
  const auto abi = reinterpret_cast<EngineAbi>(::dlsym(library, "backlot_engine_abi"));
  if (!make || !abi || abi() != engine_abi)
    throw EnvironmentError(engine->string(), "belongs to another version of backlot",
                           "install binary and engine of the same version");
  return std::unique_ptr<Engine>(make(told));
}

}  // namespace backlot
