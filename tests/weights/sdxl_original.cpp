#include "weights/sdxl_original.h"

#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "base/text.h"

namespace backlot {
namespace {

using Rules = std::vector<std::pair<std::string, std::string>>;

class Rewriter {
 public:
  // Each pattern begins at the front of a name.
  explicit Rewriter(const Rules& rules) {
    for (const auto& [pattern, replacement] : rules)
      rules_.emplace_back(std::regex("^" + pattern), replacement);
  }

  // Applies each rule in order.
  std::string operator()(std::string name) const {
    for (const auto& [pattern, replacement] : rules_)
      name =
          std::regex_replace(name, pattern, replacement, std::regex_constants::format_first_only);
    return name;
  }

 private:
  std::vector<std::pair<std::regex, std::string>> rules_;
};

// Where each place of the UNet stands in the original's three lists of blocks.
Rules unet_rules() {
  Rules rules = {{"time_embedding\\.linear_1", "time_embed.0"},
                 {"time_embedding\\.linear_2", "time_embed.2"},
                 {"add_embedding\\.linear_1", "label_emb.0.0"},
                 {"add_embedding\\.linear_2", "label_emb.0.2"},
                 {"conv_in", "input_blocks.0.0"},
                 {"conv_norm_out", "out.0"},
                 {"conv_out", "out.2"},
                 {"mid_block\\.resnets\\.0", "middle_block.0"},
                 {"mid_block\\.attentions\\.0", "middle_block.1"},
                 {"mid_block\\.resnets\\.1", "middle_block.2"}};
  const std::vector<std::pair<std::string, std::string>> places = {
      {"down_blocks.0.resnets.0", "input_blocks.1.0"},
      {"down_blocks.0.resnets.1", "input_blocks.2.0"},
      {"down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"},
      {"down_blocks.1.resnets.0", "input_blocks.4.0"},
      {"down_blocks.1.attentions.0", "input_blocks.4.1"},
      {"down_blocks.1.resnets.1", "input_blocks.5.0"},
      {"down_blocks.1.attentions.1", "input_blocks.5.1"},
      {"down_blocks.1.downsamplers.0.conv", "input_blocks.6.0.op"},
      {"down_blocks.2.resnets.0", "input_blocks.7.0"},
      {"down_blocks.2.attentions.0", "input_blocks.7.1"},
      {"down_blocks.2.resnets.1", "input_blocks.8.0"},
      {"down_blocks.2.attentions.1", "input_blocks.8.1"},
      {"up_blocks.0.resnets.0", "output_blocks.0.0"},
      {"up_blocks.0.attentions.0", "output_blocks.0.1"},
      {"up_blocks.0.resnets.1", "output_blocks.1.0"},
      {"up_blocks.0.attentions.1", "output_blocks.1.1"},
      {"up_blocks.0.resnets.2", "output_blocks.2.0"},
      {"up_blocks.0.attentions.2", "output_blocks.2.1"},
      {"up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"},
      {"up_blocks.1.resnets.0", "output_blocks.3.0"},
      {"up_blocks.1.attentions.0", "output_blocks.3.1"},
      {"up_blocks.1.resnets.1", "output_blocks.4.0"},
      {"up_blocks.1.attentions.1", "output_blocks.4.1"},
      {"up_blocks.1.resnets.2", "output_blocks.5.0"},
      {"up_blocks.1.attentions.2", "output_blocks.5.1"},
      {"up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"},
      {"up_blocks.2.resnets.0", "output_blocks.6.0"},
      {"up_blocks.2.resnets.1", "output_blocks.7.0"},
      {"up_blocks.2.resnets.2", "output_blocks.8.0"}};
  for (const auto& [place, original] : places)
    rules.emplace_back(std::regex_replace(place, std::regex("\\."), "\\."), original);
  const std::string block = "((?:input|middle|output)_blocks?(?:\\.\\d+)+)\\.";
  for (const auto& [part, original] : Rules{{"norm1", "in_layers.0"},
                                            {"conv1", "in_layers.2"},
                                            {"time_emb_proj", "emb_layers.1"},
                                            {"norm2", "out_layers.0"},
                                            {"conv2", "out_layers.3"},
                                            {"conv_shortcut", "skip_connection"}})
    rules.emplace_back(block + part + "\\.", "$1." + original + ".");
  return rules;
}

Rules vae_rules() {
  const std::string half = "((?:en|de)coder\\.)";
  Rules rules = {
      {half + "conv_norm_out", "$1norm_out"},
      {half + "mid_block\\.resnets\\.0", "$1mid.block_1"},
      {half + "mid_block\\.resnets\\.1", "$1mid.block_2"},
      {half + "mid_block\\.attentions\\.0\\.group_norm", "$1mid.attn_1.norm"},
      {half + "mid_block\\.attentions\\.0\\.to_([qkv])\\.", "$1mid.attn_1.$2."},
      {half + "mid_block\\.attentions\\.0\\.to_out\\.0", "$1mid.attn_1.proj_out"},
      {"encoder\\.down_blocks\\.(\\d)\\.resnets", "encoder.down.$1.block"},
      {"encoder\\.down_blocks\\.(\\d)\\.downsamplers\\.0", "encoder.down.$1.downsample"}};
  for (int i = 0; i < 4; ++i) {
    const std::string ours = "decoder\\.up_blocks\\." + std::to_string(i);
    const std::string theirs = "decoder.up." + std::to_string(3 - i);
    rules.emplace_back(ours + "\\.resnets", theirs + ".block");
    rules.emplace_back(ours + "\\.upsamplers\\.0", theirs + ".upsample");
  }
  rules.emplace_back("(.*)\\.conv_shortcut\\.", "$1.nin_shortcut.");
  return rules;
}

Rules open_clip_rules() {
  const std::string layer = "transformer\\.resblocks\\.(\\d+)\\.";
  return {{"text_model\\.embeddings\\.position_embedding\\.weight", "positional_embedding"},
          {"text_model\\.embeddings\\.token_embedding", "token_embedding"},
          {"text_model\\.final_layer_norm", "ln_final"},
          {"text_projection\\.weight", "text_projection"},
          {"text_model\\.encoder\\.layers\\.", "transformer.resblocks."},
          {layer + "layer_norm([12])", "transformer.resblocks.$1.ln_$2"},
          {layer + "mlp\\.fc1", "transformer.resblocks.$1.mlp.c_fc"},
          {layer + "mlp\\.fc2", "transformer.resblocks.$1.mlp.c_proj"},
          {layer + "self_attn\\.out_proj", "transformer.resblocks.$1.attn.out_proj"},
          {layer + "self_attn\\.[qkv]_proj\\.", "transformer.resblocks.$1.attn.in_proj_"}};
}

}  // namespace

Listing read_listing(const fs::path& path) {
  Listing listing;
  for (const auto& line : split(read_file(path), '\n')) {
    if (trim(line).empty() || line.front() == '#') continue;
    const size_t bracket = line.find(" [");
    std::vector<int64_t> shape;
    std::istringstream numbers(line.substr(bracket + 2));
    for (int64_t length; numbers >> length; numbers.ignore(1)) shape.push_back(length);
    listing.emplace(line.substr(0, bracket), shape);
  }
  return listing;
}

Listing original_sdxl(const fs::path& listings) {
  Listing original;
  const Rewriter unet(unet_rules()), vae(vae_rules()), open_clip(open_clip_rules());
  for (const auto& [name, shape] : read_listing(listings / "sdxl-unet.txt"))
    original.emplace("model.diffusion_model." + unet(name), shape);
  for (auto [name, shape] : read_listing(listings / "sdxl-vae.txt")) {
    if (name.find(".attentions.") != std::string::npos && shape.size() == 2)
      shape.insert(shape.end(), {1, 1});
    original.emplace("first_stage_model." + vae(name), shape);
  }
  for (const auto& [name, shape] : read_listing(listings / "sdxl-text_encoder.txt"))
    original.emplace("conditioner.embedders.0.transformer.text_model." + name, shape);
  for (auto [name, shape] : read_listing(listings / "sdxl-text_encoder_2.txt")) {
    const std::string renamed = open_clip(name);
    if (renamed.find("in_proj_") != std::string::npos) shape[0] *= 3;  // q, k and v in one
    original.emplace("conditioner.embedders.1.model." + renamed, shape);
  }
  return original;
}

void write_sparse_checkpoint(const fs::path& path, const Listing& tensors) {
  Json header = Json::object();
  uint64_t size = 0;
  std::vector<uint64_t> places;
  for (const auto& [name, shape] : tensors) {
    uint64_t bytes = 2;
    for (const int64_t length : shape) bytes *= static_cast<uint64_t>(length);
    header[name] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {size, size + bytes}}};
    places.push_back(size);
    size += bytes;
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(&length), sizeof length)
      .write(text.data(), static_cast<std::streamsize>(text.size()));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  for (uint32_t i = 0; i < places.size(); ++i) {
    file.seekp(static_cast<std::streamoff>(8 + length + places[i]));
    file.write(reinterpret_cast<const char*>(&i), sizeof i);
  }
  file.close();
  fs::resize_file(path, 8 + length + size);
}

}  // namespace backlot
