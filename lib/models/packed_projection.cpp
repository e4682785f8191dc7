#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/decoder_rows.h"
#include "models/packed_decoder.h"

namespace backlot {
namespace {

using kernels::QuantizedRows;
using kernels::QuantizedShape;
using kernels::ScaleType;

constexpr int64_t rows_read_at_once = 64;

// The rows of all sources in one sequence.
struct Rows {
  const PackableMatrix* matrix;
  int64_t begin, end;  // of the matrix
  int64_t to;          // the first, in the packed weight
};

std::vector<Rows> slices(std::span<const PackedProjection::Source> sources) {
  std::vector<Rows> slices;
  int64_t to = 0;
  for (const auto& [matrix, bias] : sources) {
    for (int64_t begin = 0; begin < matrix.rows; begin += rows_read_at_once) {
      const int64_t end = std::min(begin + rows_read_at_once, matrix.rows);
      slices.push_back({&matrix, begin, end, to + begin});
    }
    to += matrix.rows;
  }
  return slices;
}

struct Codes {
  explicit Codes(const PackableMatrix& matrix)
      : codes(rows_read_at_once * matrix.in),
        scales(rows_read_at_once * matrix.in / matrix.group),
        mins(scales.size()) {}

  void read(const Rows& rows) {
    rows.matrix->read(rows.begin, rows.end, codes.data(), scales.data(), mins.data());
  }

  std::vector<uint8_t> codes;
  std::vector<float> scales, mins;
};

template <class Work>
void each(const std::vector<Rows>& slices, const Work& work) {
  at::parallel_for(0, static_cast<int64_t>(slices.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Codes codes(*slices[i].matrix);
      codes.read(slices[i]);
      work(slices[i], codes);
    }
  });
}

// Whether the scales that are there fit float16: they came from there, or are K-quants'.
ScaleType scale_type(const std::vector<Rows>& slices) {
  std::atomic<bool> exact = true;
  each(slices, [&](const Rows& rows, const Codes& read) {
    const int64_t groups = (rows.end - rows.begin) * rows.matrix->in / rows.matrix->group;
    if (!kernels::exact_in_float16(read.scales.data(), groups) ||
        !kernels::exact_in_float16(read.mins.data(), groups))
      exact = false;
  });
  return exact ? ScaleType::float16 : ScaleType::float32;
}

// The activations of one call, narrowed once for all parts of the same blocks.
struct Narrowed {
  Narrowed(ThreadTeam& team, const QuantizedShape& shape, const float* x, int64_t rows)
      : codes(new int8_t[rows * shape.in]),
        scales(new float[rows * shape.blocks()]),
        sums(new float[rows * shape.groups()]),
        rows{codes.get(), scales.get(), sums.get()} {
    const auto narrow = [&](int64_t begin, int64_t end) {
      kernels::quantize_rows(shape, x, shape.in, this->rows, begin, end);
    };
    constexpr int64_t few_rows = 4;
    team.loop(rows, few_rows, narrow);
  }

  std::unique_ptr<int8_t[]> codes;
  std::unique_ptr<float[]> scales, sums;
  QuantizedRows rows;
};

bool same_packing(const PackableMatrix& a, const PackableMatrix& b) {
  return a.bits == b.bits && a.group == b.group;
}

}  // namespace

void AlignedBytes::Free::operator()(std::byte* bytes) const { std::free(bytes); }

AlignedBytes::AlignedBytes(size_t size) : size_(size) {
  constexpr size_t line = 64;
  auto* bytes = static_cast<std::byte*>(std::aligned_alloc(line, (size + line - 1) / line * line));
  if (!bytes) throw std::bad_alloc();
  std::memset(bytes, 0, size);
  data_.reset(bytes);
}

PackedProjection::PackedProjection(const std::vector<Source>& sources) {
  for (size_t first = 0; first < sources.size();) {
    size_t last = first + 1;
    while (last < sources.size() && same_packing(sources[first].matrix, sources[last].matrix))
      ++last;
    parts_.push_back(pack(std::span(sources).subspan(first, last - first), false, out_));
    out_ += parts_.back().shape.out;
    first = last;
  }
}

PackedProjection PackedProjection::gated(const Source& gate, const Source& up) {
  if (!same_packing(gate.matrix, up.matrix)) {
    PackedProjection apart({gate, up});
    apart.gate_apart_ = true;
    apart.out_ /= 2;
    return apart;
  }
  PackedProjection together;
  const Source sources[] = {gate, up};
  together.parts_.push_back(pack(sources, true, 0));
  together.out_ = gate.matrix.rows;
  return together;
}

PackedProjection::Part PackedProjection::pack(std::span<const Source> sources, bool gated,
                                              int64_t first_out) {
  Part part;
  const auto& like = sources.front().matrix;
  int64_t rows = 0;
  bool biased = false;
  for (const auto& source : sources) {
    rows += source.matrix.rows;
    biased = biased || !source.bias.empty();
  }
  const auto all = slices(sources);
  part.shape.in = like.in;
  part.shape.out = gated ? rows / 2 : rows;
  part.shape.bits = like.bits;
  part.shape.group = like.group;
  part.shape.scales = scale_type(all);
  part.shape.gated = gated;
  part.first_out = first_out;
  part.weight = AlignedBytes(part.shape.packed_bytes());
  each(all, [&](const Rows& slice, const Codes& read) {
    kernels::pack_quantized_rows(part.shape, slice.to, slice.to + slice.end - slice.begin,
                                 read.codes.data(), read.scales.data(), read.mins.data(),
                                 part.weight.data());
  });
  if (!biased) return part;
  for (const auto& source : sources) {
    part.bias.insert(part.bias.end(), source.bias.begin(), source.bias.end());
    if (source.bias.empty()) part.bias.resize(part.bias.size() + source.matrix.rows);
  }
  return part;
}

size_t PackedProjection::bytes() const {
  size_t sum = 0;
  for (const auto& part : parts_) sum += part.weight.size() + part.bias.size() * sizeof(float);
  return sum;
}

void PackedProjection::multiply(ThreadTeam& team, const Part& part, const QuantizedRows& x,
                                int64_t rows, float* out, const float* residual) const {
  const int64_t stride = gate_apart_ ? 2 * out_ : out_;
  const kernels::QuantizedOut to{
      .out = out + part.first_out,
      .stride = stride,
      .bias = part.bias.empty() ? nullptr : part.bias.data(),
      .residual = residual ? residual + part.first_out : nullptr,
  };
  // With so many rows a panel takes longer than it takes to hand it out.
  constexpr int64_t many_rows = 64;
  team.loop(
      part.shape.panels(), 1,
      [&](int64_t first, int64_t last) {
        kernels::quantized_linear(part.shape, part.weight.data(), x, to, 0, rows, first, last);
      },
      rows < many_rows ? ThreadTeam::coarse : ThreadTeam::fine);
}

void PackedProjection::operator()(ThreadTeam& team, const float* x, int64_t rows, float* out,
                                  const float* residual) const {
  std::optional<Narrowed> narrowed;
  int64_t block = 0;
  std::vector<float> wide(gate_apart_ ? rows * 2 * out_ : 0);
  for (const auto& part : parts_) {
    if (part.shape.group != block) narrowed.emplace(team, part.shape, x, rows);
    block = part.shape.group;
    multiply(team, part, narrowed->rows, rows, gate_apart_ ? wide.data() : out, residual);
  }
  if (!gate_apart_) return;
  for (int64_t row = 0; row < rows; ++row) {
    const float* gate = wide.data() + row * 2 * out_;
    kernels::silu_gate(gate, gate + out_, out_, out + row * out_);
  }
}

void PackedProjection::weight_row(int64_t row, float* out) const {
  for (const auto& part : parts_) {
    if (row < part.first_out + part.shape.weight_rows()) {
      kernels::unpack_quantized_row(part.shape, part.weight.data(), row - part.first_out, out);
      return;
    }
  }
}

}  // namespace backlot
