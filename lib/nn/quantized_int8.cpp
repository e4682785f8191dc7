#include "nn/quantized_int8.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "nn/int8_rows.h"

namespace backlot::int8 {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using Scalars = c10::List<std::optional<at::Scalar>>;
using Numbers = c10::List<int64_t>;

const std::optional<Numbers> for_any_shape;

// Values that a thread takes at once: enough to be worth its waking.
constexpr int64_t grain = 1 << 15;

template <class Signature>
auto find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

// `work(T)` with x's data as the type that the loops in int8_rows.h take it as.
template <class Work>
void as_loops_see(const Tensor& x, Work work) {
  if (x.scalar_type() == at::kFloat)
    work(x.const_data_ptr<float>());
  else
    work(reinterpret_cast<const uint16_t*>(x.const_data_ptr<at::BFloat16>()));
}

// Calls work(begin, end) for shares of `rows` rows on all threads.
template <class Work>
void share_rows(int64_t rows, int64_t channels, Work work) {
  at::parallel_for(0, rows, std::max<int64_t>(1, grain / channels), work);
}

struct Weight {
  Tensor values;  // int8, the shape of the weight
  Tensor scales;  // [out] float32
};

// Symmetric, a scale for each output channel.
Weight narrow(const Tensor& weight) {
  const auto rows = weight.to(at::kFloat).flatten(1);
  const auto scales = rows.abs().amax(1).clamp_min(1e-30) / 127;
  const auto values = (rows / scales.unsqueeze(1)).round_().clamp_(-127, 127).to(at::kChar);
  return {values.view(weight.sizes()), scales};
}

// Activations symmetric with a scale for each token. oneDNN takes one scale a call, so the product
// comes out without it, in x's dtype, and a pass over it puts the scales and the bias in.
class Int8Linear final : public QuantizedLayer {
 public:
  Int8Linear(const Tensor& weight, const OptionalTensor& bias) : out_(weight.size(0)) {
    static const auto prepack =
        find_operator<Tensor(Tensor, std::optional<Numbers>)>("onednn::qlinear_prepack");
    const auto narrowed = narrow(weight);
    weight_ = prepack.call(narrowed.values, for_any_shape);
    scales_ = narrowed.scales;
    zeros_ = at::zeros({out_}, at::kInt);
    if (bias) bias_ = bias->to(at::kFloat);
  }

  Tensor operator()(const Tensor& x) const override {
    const auto tokens = x.contiguous();
    const int64_t in = tokens.size(-1), count = tokens.numel() / in;
    const auto q = at::empty({count, in}, at::kByte);
    const auto scales = at::empty({count}, at::kFloat);
    as_loops_see(tokens, [&](const auto* from) {
      share_rows(count, in, [&](int64_t begin, int64_t end) {
        rows::quantize_rows(from + begin * in, end - begin, in,
                            q.mutable_data_ptr<uint8_t>() + begin * in,
                            scales.mutable_data_ptr<float>() + begin);
      });
    });
    const auto y = product(q, x.scalar_type());
    as_loops_see(y, [&]<class T>(const T* made) {
      share_rows(count, out_, [&](int64_t begin, int64_t end) {
        rows::scale_rows(const_cast<T*>(made) + begin * out_, end - begin, out_,
                         scales.const_data_ptr<float>() + begin,
                         bias_ ? bias_->const_data_ptr<float>() : nullptr);
      });
    });
    auto shape = x.sizes().vec();
    shape.back() = out_;
    return y.view(shape);
  }

 private:
  Tensor product(const Tensor& q, at::ScalarType dtype) const {
    static const auto linear =
        find_operator<Tensor(Tensor, double, int64_t, Tensor, Tensor, Tensor, OptionalTensor,
                             double, int64_t, std::optional<at::ScalarType>, std::string_view,
                             Scalars, std::string_view)>("onednn::qlinear_pointwise");
    return linear.call(q, 1.0, rows::middle, weight_, scales_, zeros_, std::nullopt, 1.0, 0, dtype,
                       "none", Scalars(), "");
  }

  int64_t out_;
  Tensor weight_, scales_, zeros_;
  OptionalTensor bias_;
};

// Activations with a scale and a zero point for each picture: after SiLU they lie almost wholly
// above zero, and a middle at zero would waste half of the integers.
class Int8Conv2d final : public QuantizedLayer {
 public:
  Int8Conv2d(const Tensor& weight, const Tensor& bias, int64_t stride, int64_t padding)
      : strides_({stride, stride}), paddings_({padding, padding}), bias_(bias.to(at::kFloat)) {
    static const auto prepack =
        find_operator<Tensor(Tensor, Tensor, double, int64_t, Numbers, Numbers, Numbers, int64_t,
                             std::optional<Numbers>)>("onednn::qconv_prepack");
    const auto narrowed = narrow(weight);
    scales_ = narrowed.scales;
    zeros_ = at::zeros({weight.size(0)}, at::kInt);
    weight_ = prepack.call(narrowed.values.contiguous(at::MemoryFormat::ChannelsLast), scales_, 1.0,
                           rows::middle, strides_, paddings_, dilation_, 1, for_any_shape);
  }

  Tensor operator()(const Tensor& x) const override {
    const auto pictures = x.contiguous(at::MemoryFormat::ChannelsLast);
    std::vector<Tensor> made;
    for (const auto& picture : pictures.split(1)) made.push_back(convolve(picture));
    return made.size() == 1 ? made[0] : at::cat(made).contiguous(at::MemoryFormat::ChannelsLast);
  }

 private:
  Tensor convolve(const Tensor& picture) const;

  Numbers strides_, paddings_, dilation_{1, 1};
  Tensor weight_, scales_, zeros_, bias_;
};

rows::Range range_of(const Tensor& picture) {
  const int64_t shares = at::divup(picture.numel(), grain);
  std::vector<rows::Range> ranges(static_cast<size_t>(shares));
  as_loops_see(picture, [&](const auto* from) {
    at::parallel_for(0, shares, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        ranges[static_cast<size_t>(i)] =
            rows::range_of(from + i * grain, std::min(grain, picture.numel() - i * grain));
      }
    });
  });
  rows::Range whole;
  for (const auto& range : ranges) {
    // Written so that a NaN stays.
    if (!(range.below <= whole.below)) whole.below = range.below;
    if (!(range.above <= whole.above)) whole.above = range.above;
  }
  return whole;
}

Tensor Int8Conv2d::convolve(const Tensor& picture) const {
  static const auto convolution = find_operator<Tensor(
      Tensor, double, int64_t, Tensor, Tensor, Tensor, OptionalTensor, Numbers, Numbers, Numbers,
      int64_t, double, int64_t, std::optional<at::ScalarType>, std::string_view, Scalars,
      std::optional<std::string_view>)>("onednn::qconv2d_pointwise");
  const auto range = range_of(picture);
  // Both ends keep half a step's distance from the ends of the integers.
  const float scale = std::max((range.below + range.above) / 254, 1e-30f);
  const auto zero = static_cast<int64_t>(std::min(range.below / scale, 254.0f)) + 1;
  const auto q =
      at::empty(picture.sizes(), at::TensorOptions(at::kByte), at::MemoryFormat::ChannelsLast);
  as_loops_see(picture, [&](const auto* from) {
    at::parallel_for(0, picture.numel(), grain, [&](int64_t begin, int64_t end) {
      rows::quantize(from + begin, end - begin, 1 / scale, static_cast<float>(zero),
                     q.mutable_data_ptr<uint8_t>() + begin);
    });
  });
  return convolution.call(q, scale, zero, weight_, scales_, zeros_, bias_, strides_, paddings_,
                          dilation_, 1, 1.0, 0, picture.scalar_type(), "none", Scalars(), "");
}

}  // namespace

std::shared_ptr<const QuantizedLayer> linear(const Tensor& weight, const OptionalTensor& bias) {
  return std::make_shared<Int8Linear>(weight, bias);
}

std::shared_ptr<const QuantizedLayer> conv2d(const Tensor& weight, const Tensor& bias,
                                             int64_t stride, int64_t padding) {
  return std::make_shared<Int8Conv2d>(weight, bias, stride, padding);
}

}  // namespace backlot::int8
