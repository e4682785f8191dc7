#include <gtest/gtest.h>
#include <stdlib.h>

#include <set>

#include "support/sharded_model.h"
#include "support/temporary_folder.h"
#include "weights/model_folder.h"
#include "weights/safetensors_bytes.h"

namespace backlot {
namespace {

class Fingerprint : public ::testing::Test {
 protected:
  Fingerprint() {
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    write_sharded_sdxl(folder_ / "model");
  }
  ~Fingerprint() override { ::unsetenv("XDG_CACHE_HOME"); }

  std::string of(const fs::path& path) const {
    return fingerprint(ModelFolder::open(path), std::nullopt);
  }
  fs::path cache_file() const { return folder_ / "cache/backlot/fingerprints.json"; }

  TemporaryFolder folder_;
};

void flip_last_byte(const fs::path& path) {
  std::string bytes = read_file(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_quickly(path, bytes);
}

TEST_F(Fingerprint, IsTheSameInAnotherPlace) {
  const std::string first = of(folder_ / "model");
  EXPECT_EQ(first.size(), 64u);
  fs::create_directories(folder_ / "elsewhere");
  fs::copy(folder_ / "model", folder_ / "elsewhere/again", fs::copy_options::recursive);
  EXPECT_EQ(of(folder_ / "elsewhere/again"), first);
  EXPECT_EQ(of(folder_ / "model/"), first);
}

TEST_F(Fingerprint, ChangesWithEveryFileThatDecidesAPicture) {
  const std::string first = of(folder_ / "model");
  flip_last_byte(folder_ / "model/unet/diffusion_pytorch_model-00002-of-00006.safetensors");
  const std::string second = of(folder_ / "model");
  EXPECT_NE(second, first);
  write_quickly(folder_ / "model/tokenizer/merges.txt", "#version: 0.2\n");
  EXPECT_NE(of(folder_ / "model"), second);
}

TEST_F(Fingerprint, IgnoresOtherFiles) {
  const std::string first = of(folder_ / "model");
  write_quickly(folder_ / "model/README.md", "notes");
  EXPECT_EQ(of(folder_ / "model"), first);
}

TEST_F(Fingerprint, RemembersWhatItHashed) {
  const std::string first = of(folder_ / "model");
  // A digest that is not the content's shows that the content was not read again.
  Json cache = Json::parse(read_file(cache_file()));
  cache.begin().value()["sha256"] = std::string(64, '0');
  write_quickly(cache_file(), cache.dump());
  EXPECT_NE(of(folder_ / "model"), first);
}

TEST_F(Fingerprint, ForgetsAFileThatChanged) {
  const fs::path config = folder_ / "model/unet/config.json";
  const std::string first = of(folder_ / "model");
  const std::string text = read_file(config);
  write_quickly(config, text + "\n");
  EXPECT_NE(of(folder_ / "model"), first);
  write_quickly(config, text);
  EXPECT_EQ(of(folder_ / "model"), first);
}

TEST_F(Fingerprint, DoesWithoutASoundCache) {
  const std::string first = of(folder_ / "model");
  for (const auto* damage : {"", "{", "[]", "7", R"({"x": 1})", "\xff"}) {
    write_quickly(cache_file(), damage);
    EXPECT_EQ(of(folder_ / "model"), first) << damage;
  }
  // A cache that can't be written: its folder's place is taken by a file.
  fs::remove_all(folder_ / "cache");
  write_quickly(folder_ / "cache", "x");
  EXPECT_EQ(of(folder_ / "model"), first);
}

// Larger than one piece, so that several are hashed and put together in order.
TEST_F(Fingerprint, SeesAChangeInAnyPieceOfALargeFile) {
  const fs::path vae = folder_ / "model/vae";
  for (const auto& entry : fs::directory_iterator(vae))
    if (entry.path().filename() != "config.json") fs::remove(entry.path());
  constexpr uint64_t size = 150 << 20;
  const std::string header = R"({"a":{"dtype":"U8","shape":[)" + std::to_string(size) +
                             R"(],"data_offsets":[0,)" + std::to_string(size) + "]}}";
  const fs::path file = vae / "diffusion_pytorch_model.safetensors";
  write_quickly(file, safetensors_bytes(header));
  fs::resize_file(file, fs::file_size(file) + size);  // sparse
  std::set<std::string> seen = {of(folder_ / "model")};
  for (const uint64_t place : {uint64_t{1} << 20, uint64_t{70} << 20, uint64_t{149} << 20}) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(place));
    stream << 'x';
    stream.close();
    EXPECT_TRUE(seen.insert(of(folder_ / "model")).second) << place;
  }
}

}  // namespace
}  // namespace backlot
