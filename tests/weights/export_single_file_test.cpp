// scripts/export_single_file.py against the reader of such files: what a folder holds comes back,
// under the same names and bit for bit.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/files.h"
#include "support/sharded_model.h"
#include "support/temporary_folder.h"
#include "weights/model_folder.h"
#include "weights/sdxl_file.h"

namespace backlot {
namespace {

const fs::path oracles = fs::path(BACKLOT_TEST_DATA) / "oracles";

bool have_python() { return std::system("python3 -c '' 2>/dev/null") == 0; }

int export_folder(const fs::path& model, const fs::path& out,
                  const fs::path& errors = "/dev/null") {
  return std::system(
      fmt::format("python3 '{}/scripts/export_single_file.py' '{}' '{}' >/dev/null 2>'{}'",
                  BACKLOT_SOURCE_DIR, model.string(), out.string(), errors.string())
          .c_str());
}

// The matrix as its shape says, whichever way round the file has it.
std::string values(const TensorView& view) {
  const auto* bytes = reinterpret_cast<const char*>(view.bytes.data());
  if (!view.transposed) return {bytes, view.bytes.size()};
  const auto rows = static_cast<size_t>(view.shape.at(0));
  const auto columns = static_cast<size_t>(view.shape.at(1));
  const auto width = static_cast<size_t>(dtype_bytes(view.dtype));
  std::string out;
  for (size_t row = 0; row < rows; ++row)
    for (size_t column = 0; column < columns; ++column)
      out.append(bytes + (column * rows + row) * width, width);
  return out;
}

void expect_same(const Checkpoint& expected, const Checkpoint& found) {
  size_t count = 0;
  for (const auto& [name, view] : expected.tensors()) {
    if (name.ends_with("position_ids")) continue;  // 0 to 76; no network asks for them
    ++count;
    const auto* other = found.find(name);
    // Current transformers leave the prefix off; single files never do.
    if (!other) other = found.find("text_model." + name);
    ASSERT_NE(other, nullptr) << name;
    EXPECT_EQ(other->dtype, view.dtype) << name;
    EXPECT_EQ(other->shape, view.shape) << name;
    EXPECT_TRUE(values(*other) == values(view)) << name;
  }
  EXPECT_EQ(found.tensors().size(), count);
}

void expect_every_tensor_kept(const fs::path& model) {
  const TemporaryFolder folder;
  const fs::path single = folder / "one.safetensors";
  ASSERT_EQ(export_folder(model, single), 0);
  const auto file = std::make_shared<const SafetensorsFile>(single);
  check_sdxl_file(*file);
  for (const auto* component : {"unet", "vae", "text_encoder", "text_encoder_2"}) {
    SCOPED_TRACE(component);
    expect_same(ModelFolder::open(model).checkpoint(component), sdxl_component(file, component));
  }
}

TEST(ExportSingleFile, KeepsEveryTensor) {
  if (!have_python()) GTEST_SKIP() << "no python3";
  expect_every_tensor_kept(oracles / "sdxl-base/model");
}

TEST(ExportSingleFile, KeepsEveryTensorOfShards) {
  if (!have_python()) GTEST_SKIP() << "no python3";
  const TemporaryFolder folder;
  write_sharded_sdxl(folder / "sharded");
  expect_every_tensor_kept(folder / "sharded");
}

TEST(ExportSingleFileErrors, SayWhatIsMissing) {
  if (!have_python()) GTEST_SKIP() << "no python3";
  const TemporaryFolder folder;
  EXPECT_NE(export_folder(folder.path(), folder / "one.safetensors", folder / "errors"), 0);
  EXPECT_EQ(read_file(folder / "errors"),
            fmt::format("export: error: {}: has no model_index.json; give a diffusers folder\n",
                        folder.path().string()));
  EXPECT_FALSE(fs::exists(folder / "one.safetensors"));
}

}  // namespace
}  // namespace backlot
