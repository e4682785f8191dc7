#include "run/identity.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "run/run_lock.h"

namespace backlot {
namespace {

constexpr int format_version = 1;
constexpr const char* identity_file = "journal/run.json";
constexpr int bits_of_a_seed = 53;

}  // namespace

std::optional<Identity> read_identity(const RootedFolder& root) {
  const auto text = root.read(identity_file, 1 << 20);
  if (!text) return std::nullopt;
  const auto damaged = [&](std::string what, std::string mend) {
    return EnvironmentError((root.path() / identity_file).string(), std::move(what),
                            std::move(mend));
  };
  try {
    const Json json = Json::parse(*text);
    if (json.at("version").get<int>() > format_version)
      throw damaged("was written by a newer backlot", "use that one, or choose another folder");
    return Identity{.base_seed = json.at("base_seed"), .created = json.at("created")};
  } catch (const Json::exception&) {
    throw damaged("is damaged", "move the folder away and start the run anew");
  }
}

void write_identity(const RootedFolder& root, const Identity& identity) {
  const Json json = {{"version", format_version},
                     {"base_seed", identity.base_seed},
                     {"created", identity.created}};
  root.write_durably(identity_file, json.dump() + "\n");
}

// Empty, a run folder, or what a kill left of one before run.json was there.
void refuse_foreign_folder(const RootedFolder& root) {
  if (root.file_size(identity_file)) return;
  const auto ours = [](const std::string& name) {
    return is_lock_name(name) || is_temporary_name(name);
  };
  const auto names = root.list("");
  const bool only_journal = names == std::vector<std::string>{"journal"};
  const auto inside = only_journal ? root.list("journal") : std::vector<std::string>{};
  if (names.empty() || (only_journal && std::all_of(inside.begin(), inside.end(), ours))) return;
  // Another shard may have begun the run since the first look.
  if (root.file_size(identity_file)) return;
  throw EnvironmentError(root.path().string(), "is not empty and not a run folder",
                         "choose another folder with --output");
}

uint64_t drawn_seed() {
  uint64_t seed = 0;
  while (::getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed))
    if (errno != EINTR) throw_errno("getrandom", "draw a seed", errno);
  return seed >> (64 - bits_of_a_seed);
}

uint64_t seed_of(const Json& spec) {
  const std::string hash = sha256_hex(canonical_json(spec)).substr(0, 16);
  return std::stoull(hash, nullptr, 16) >> (64 - bits_of_a_seed);
}

}  // namespace backlot
